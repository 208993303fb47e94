"""Draws several images at once, each in a call of its own on one thread, so that how many it is moves no pixel.

In a batch, and on several threads, sums are split otherwise, and their last bits come out otherwise. On a CPU one image
on one thread of each core takes about as long as a batch on all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from terrasynth.synthesis.generators.base import Drawn

Draw = Callable[..., Drawn]


class SideBySide:
    """Copies of one pipeline that share its weights."""

    def __init__(self, pipeline: Any, count: int) -> None:  # noqa: ANN401 - a pipeline of any class
        """Prepare to draw.

        Args:
            pipeline: A loaded pipeline on the CPU.
            count: Images at once.
        """
        from diffusers import DiffusionPipeline

        from terrasynth.synthesis.generators.runtime import set_threads

        self.pipeline, self.count = pipeline, count
        copies = count - 1 if isinstance(pipeline, DiffusionPipeline) else 0  # of anything else a copy may share more
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._news: SimpleQueue[Future[Drawn] | Callable[[], None]] = SimpleQueue()
        for each in [pipeline, *(_copy(pipeline) for _ in range(copies))]:
            self._free.put(each)
        # Threads count their own threads, so that those of the caller stay as they are.
        self._threads = ThreadPoolExecutor(1 + copies, initializer=set_threads, initargs=(1,))

    def call(self, news: Callable[[], None]) -> None:
        """Have something called in the thread that waits in `draw`; from any of those that draw."""
        self._news.put(news)

    def draw(self, draw: Draw, asked: Sequence[Sequence[Any]],
             on_image: Callable[[], None] = lambda: None) -> list[Drawn]:
        """Draw images one by one, in order.

        Args:
            draw: Draws one image with the pipeline that it is given, and one of each of `asked`.
            asked: What differs between the images, such as prompts and seeds: each N long, at least one.
            on_image: Is called in this thread for each image that is drawn.
        """
        import torch

        before = torch.get_num_threads()

        def one(*each: Any) -> Drawn:  # noqa: ANN401
            pipeline = self._free.get()
            try:
                return draw(pipeline, *each)
            finally:
                self._free.put(pipeline)

        news = self._news = SimpleQueue()  # what an earlier call left behind is heard no more
        drawing = [self._threads.submit(one, *each) for each in zip(*asked, strict=True)]
        for image in drawing:
            image.add_done_callback(news.put)
        waiting = len(drawing)
        try:
            while waiting:
                if not isinstance(heard := news.get(), Future):
                    heard()
                    continue
                heard.result()
                waiting -= 1
                on_image()
            return [image.result() for image in drawing]
        finally:
            for image in drawing:
                image.cancel()
            torch.set_num_threads(before)  # what a thread asks for is what threads begun later would take

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _copy(pipeline: Any) -> Any:  # noqa: ANN401
    """A pipeline with the same networks, and a scheduler and tokenizers of its own.

    A scheduler counts its steps. A tokenizer keeps in itself how the text at hand is to be padded and cut: of two
    threads that ask one, each may get what the other asked for, without a word.
    """
    from transformers import PreTrainedTokenizerBase

    copied = copy.copy(pipeline)
    for name, part in pipeline.components.items():
        if part is not None and (name == "scheduler" or isinstance(part, PreTrainedTokenizerBase)):
            setattr(copied, name, copy.deepcopy(part))
    return copied
