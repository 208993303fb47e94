"""The generator that drives any diffusers text-to-image pipeline."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.core.library_errors import is_shortage, library_errors
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.base import Drawn, GeneratorSource
from terrasynth.synthesis.generators.compiling import compile_checked
from terrasynth.synthesis.generators.conditions.layout import BOXES
from terrasynth.synthesis.generators.loading import can_slice, denoiser_name, load_pipeline
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.generators.side_by_side import SideBySide
from terrasynth.synthesis.generators.steps import Bar, OnStep, Steps
from terrasynth.synthesis.generators.token_limits import tokens_of, unknown_parts

TRIAL_STEPS = 2  # when the compiled network is compared
FLAGS = ("nsfw_content_detected", "nsfw_detected", "watermark_detected")  # what answers call black images
log = logging.getLogger("terrasynth")


class DiffusersGenerator:
    """Any diffusers text-to-image pipeline.

    Attributes:
        micro_batch: Images drawn at once, in one call or side by side; halved for good when memory runs out.
        vae_slicing: Whether latents are decoded one by one; true for good when memory runs out.
        on_step: Is called after each step and each image, in the thread that called `draw`; None for nobody.
    """

    def __init__(self, source: GeneratorSource, runtime: Runtime) -> None:
        """Load a pipeline.

        Raises:
            InputError: See `load_pipeline`; or the model does not draw images of the size asked for, does not take a
                value of an option, or cannot be compiled where the runtime says so.
            RunError: Not even one image of the size asked for fits into memory.
        """
        import torch

        self.source = source
        self.micro_batch = runtime.micro_batch
        self.vae_slicing = runtime.vae_slicing
        # On a CPU the weights stay float32 and autocast computes in bfloat16: the noise and the sampler's sums keep
        # full precision, and a seed means the same noise in either precision.
        self._autocast = runtime.on_cpu and runtime.dtype == "bfloat16"
        self._exact, self._on_cpu, self._compiled = runtime.exact, runtime.on_cpu, runtime.compile
        self._both_sides = runtime.arithmetic >= 3
        self._side_by_side: SideBySide | None = None
        self.on_step: OnStep | None = None
        self._whole = self._steps = 0
        dtype = torch.float32 if self._autocast else getattr(torch, runtime.dtype)
        self.pipeline = load_pipeline(source, runtime, dtype)
        self.pipeline.progress_bar = self._bar
        self._tokens = tokens_of(self.pipeline, source)
        self._unknown: set[str] = set()
        size = self._native_size()
        self._size = (source.height or size[0], source.width or size[1])
        if (source.height, source.width) != (None, None) or source.options or source.vae or source.layout:
            self._try()
        if runtime.compile:
            self._compile(runtime.dtype)

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides an image besides prompt and seed; no paths."""
        return self.source.identity()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return self._size

    @property
    def token_limit(self) -> int | None:
        """Most tokens of a prompt, begin and end marks included, of its tokenizers the least; None for no limit."""
        return None if self._tokens is None else self._tokens.limit

    def count_tokens(self, text: str) -> int:
        """Tokens of a prompt, begin and end marks included; 0 for a pipeline without a tokenizer."""
        if self._tokens is not None:
            return self._tokens.count(text)
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        return 0 if tokenizer is None else len(tokenizer(text, truncation=False, verbose=False).input_ids)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int],
                 layouts: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """The images of `draw` alone, uint8 (N, H, W, 3); a withheld one is black and named in the log.

        Raises:
            InputError: See `draw`.
            RunError: See `draw`.
        """
        drawn = self.draw(prompts, seeds, layouts)
        if drawn.withheld:
            log.warning("model %s: its safety checker made %d of %d images black, the first of %r", self.source.name,
                        len(drawn.withheld), len(prompts), prompts[drawn.withheld[0]][:60])
        return drawn.pictures

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], layouts: Sequence[str] | None = None) -> Drawn:
        """Draw images.

        Args:
            seeds: N seeds, 0 .. 2**63 - 1; one noise generator each, on the CPU.
            layouts: N layouts as JSON, where the model is shown them (`GeneratorSource.layout`); None for none.

        Returns:
            Images, and which of them a safety checker made black. The model's range -1 .. 1 maps to 0 .. 255 for
            every image alike.

        Raises:
            InputError: `prompts`, `seeds` and `layouts` differ in length, the model is shown layouts and there is none
                or the other way round, or the pipeline refuses an option's value.
            RunError: Not even one image fits into memory, or the model gave no finite numbers.
        """
        if len(prompts) != len(seeds):
            raise InputError(f"{len(prompts)} prompts with {len(seeds)} seeds; give one seed a prompt")
        shown = self._checked(layouts, len(prompts))
        self._tell_unknown(prompts)
        pictures: list[NDArray[np.uint8]] = []
        withheld: list[int] = []
        done = 0
        while done < len(prompts):
            part = slice(done, done + self._at_once)
            self._whole = done
            try:
                drawn = self._draw_part(list(prompts[part]), seeds[part], shown[part])
            except (RuntimeError, MemoryError) as error:
                self._spare(error)
                continue
            except (ValueError, TypeError) as error:
                if isinstance(error, InputError):
                    raise
                raise self._refused(error) from error
            pictures += [each.pictures for each in drawn]
            for each in drawn:
                withheld += [done + row for row in each.withheld]
                done += len(each.pictures)
            if self._whole < done:
                self._count(done - self._whole)
        whole = np.concatenate(pictures) if pictures else np.empty((0, *self.size, 3), np.uint8)
        return Drawn(whole, tuple(withheld))

    def _tell_unknown(self, prompts: Sequence[str]) -> None:
        """Say once of each part of a prompt that a tokenizer reads no word there, but its mark for the unknown."""
        for text in dict.fromkeys(prompts):
            for part in unknown_parts(self.pipeline, text):
                if part not in self._unknown:
                    self._unknown.add(part)
                    log.warning("model %s does not know %r, and draws %r without it", self.source.name, part, text[:60])

    def _checked(self, layouts: Sequence[str] | None, count: int) -> Sequence[str]:
        """One layout a prompt; empty texts where the model is shown none."""
        reading = self.source.layout
        if reading is None:
            if layouts is not None:
                raise InputError(f"model {self.source.name!r} reads texts alone; leave the layouts out")
            return [""] * count
        if layouts is None or len(layouts) != count or not all(layouts):
            raise InputError(f"model {self.source.name!r} is shown a layout beside each text; give one layout a "
                             "prompt, as the expander layout does")
        return layouts

    @property
    def _at_once(self) -> int:
        if self.source.pipeline == BOXES:
            return 1  # a call has the same boxes for all of its images, and turns layers of its network off and on
        return 1 if self._exact and (self._compiled or not self._on_cpu) else self.micro_batch

    def _draw_part(self, prompts: list[str], seeds: Sequence[int], layouts: Sequence[str]) -> list[Drawn]:
        with quiet():  # here, since threads have its settings in common
            if not (self._exact and self._on_cpu):
                return [self._draw(self.pipeline, prompts, seeds, layouts)]
            found = self._side_by_side
            if found is None or found.count != self._at_once or found.pipeline is not self.pipeline:
                if found is not None:
                    found.close()
                found = self._side_by_side = SideBySide(self.pipeline, self._at_once)
            return found.draw(lambda pipeline, prompt, seed, layout: self._draw(pipeline, [prompt], [seed], [layout]),
                              (prompts, seeds, layouts), self._count)

    def _bar(self, iterable: Sequence[Any] | None = None, total: int | None = None) -> Bar:
        """What a pipeline gets where it asks for a bar of progress."""
        return Bar(self._step, iterable, total)

    def _step(self, step: int, steps: int) -> None:
        self._steps = steps
        if self.on_step is None:
            return
        if self._exact and self._on_cpu and self._side_by_side is not None:
            self._side_by_side.call(lambda: self._tell(step))
        else:
            self._tell(step)

    def _tell(self, step: int) -> None:
        if self.on_step is not None:
            self.on_step(Steps(self._whole, step, self._steps))

    def _count(self, images: int = 1) -> None:
        self._whole += images
        self._tell(0)

    def _draw(self, pipeline: Any, prompts: list[str], seeds: Sequence[int],  # noqa: ANN401
              layouts: Sequence[str]) -> Drawn:
        with self._computing():
            answer = pipeline(output_type="np", **self._call(prompts, seeds, self.source.steps, layouts))
        drawn = np.asarray(answer.images, dtype=np.float32)
        if not np.isfinite(drawn).all():
            raise RunError("the generator gave numbers that are not finite; set runtime.dtype to float32")
        pictures: NDArray[np.uint8] = np.rint(drawn.clip(0, 1) * 255).astype(np.uint8)
        return Drawn(pictures, _withheld(answer))

    def _call(self, prompts: list[str], seeds: Sequence[int], steps: int,
              layouts: Sequence[str]) -> dict[str, object]:
        """The arguments of the pipeline's call, but for the kind of output."""
        import torch

        options: dict[str, object] = dict(self.source.options)
        sizes = {"height": self.source.height, "width": self.source.width}
        if self._both_sides and (sizes["height"] or sizes["width"]):
            sizes = dict(zip(sizes, self.size, strict=True))
        options |= {name: value for name, value in sizes.items() if value is not None}
        if isinstance(options.get("negative_prompt"), str):
            options["negative_prompt"] = [options["negative_prompt"]] * len(prompts)  # some take no other form
        if not self.source.draws_tokens:
            options["num_inference_steps"] = steps
            if "use_resolution_binning" in inspect.signature(self.pipeline.__call__).parameters:
                options.setdefault("use_resolution_binning", False)  # the size asked for, not the nearest preset
        if self.source.layout is not None:
            options |= self.source.layout.arguments(layouts, self.size)
        noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        return {"prompt": prompts, "guidance_scale": self.source.guidance, "generator": noise} | options

    def _computing(self) -> AbstractContextManager[object]:
        import torch

        ways = ExitStack()
        ways.enter_context(torch.no_grad())  # not inference_mode: under it autocast casts every weight anew each step
        if self._autocast:
            ways.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
        if self._exact and not self._on_cpu:
            ways.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
        return ways

    def _try(self) -> None:
        """Take a step or two of one image: which sizes, options and latents a network takes, only the network knows.

        Raises:
            InputError: It does not take them, or draws another size.
            RunError: Not even one image fits into memory.
        """
        asked = self._call([""], [0], min(TRIAL_STEPS, self.source.steps), [""])
        wanted = f"images of {self._size[1]} x {self._size[0]} px"
        if self.source.options:
            wanted += f" with generator.options {dict(self.source.options)}"
        end, expected = "", (self.source.height, self.source.width)
        if self.source.vae is not None:
            wanted += f" with autoencoder {self.source.vae.name!r}"
            end, expected = "; give an autoencoder of the same latent space, or leave generator.vae out", self._size

        def explain(reason: str) -> str:
            return f"model {self.source.name!r} does not draw {wanted}: {reason}{end}"

        try:
            with self._computing(), quiet(), library_errors(explain):
                tried = np.asarray(self.pipeline(output_type="np", **asked).images)
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            raise RunError(f"not even one image of {wanted} fits into memory: {one_line(error, 120)}") from error
        height, width = tried.shape[1:3]
        if (expected[0] or height, expected[1] or width) != (height, width):
            # some pipelines round what they are asked for to what their autoencoder can
            advice = "" if end else "; set these, or other sizes"
            raise InputError(explain(f"it draws {width} x {height} px instead{advice}"))
        if end and not np.isfinite(tried).all():
            raise InputError(explain("it gives numbers that are not finite"))

    def _compile(self, dtype: str) -> None:
        name = denoiser_name(self.pipeline)
        if self.source.draws_tokens or name is None:
            raise InputError(f"runtime.compile true cannot be had: model {self.source.name!r} is a "
                             f"{type(self.pipeline).__name__}, of which nothing is compiled here; set it to false")
        count = 1 if self._exact else self.micro_batch
        asked = self._call([""] * count, range(count), min(TRIAL_STEPS, self.source.steps), [""] * count)
        with self._computing(), quiet():
            compile_checked(
                getattr(self.pipeline, name), lambda: self.pipeline(output_type="latent", **asked), dtype
            )

    def _spare(self, error: RuntimeError | MemoryError) -> None:
        """Need less memory from now on, where the lack of it was the error."""
        if isinstance(error, RunError) or not is_shortage(error):
            raise error
        if self._at_once == 1:
            raise RunError(f"not even one image fits into memory: {one_line(error, 120)}") from error
        vae = getattr(self.pipeline, "vae", None)
        if vae is not None and can_slice(vae) and not self.vae_slicing:
            vae.enable_slicing()
            self.vae_slicing = True
            log.warning("out of memory: latents are now decoded one by one")
        else:
            self.micro_batch = max(1, self.micro_batch // 2)
            log.warning("out of memory: micro_batch is now %d", self.micro_batch)
        _empty_cache()

    def _refused(self, error: ValueError | TypeError) -> Exception:
        """What to raise where the pipeline does not take what it is asked for."""
        if self.source.options:
            return InputError(f"model {self.source.name!r} does not take generator.options "
                              f"{dict(self.source.options)}: {one_line(error, 160)}")
        return InputError(f"model {self.source.name!r} does not draw what it is asked for: {one_line(error, 200)}")

    def _native_size(self) -> tuple[int, int]:
        if self.source.draws_tokens:
            rows, columns = self.pipeline.size
            return int(rows), int(columns)
        name = denoiser_name(self.pipeline)
        network = None if name is None else getattr(self.pipeline, name)
        sample = getattr(getattr(network, "config", None), "sample_size", None)
        if sample is None:
            raise InputError(
                f"model {self.source.name!r} does not say its image size; set generator.height and width"
            )
        rows, columns = (sample, sample) if isinstance(sample, int) else sample
        scale = int(getattr(self.pipeline, "vae_scale_factor", 8))
        return rows * scale, columns * scale


def _withheld(answer: object) -> tuple[int, ...]:
    """The images that a pipeline says its safety checker made black."""
    flags = [getattr(answer, name, None) or () for name in FLAGS]
    return tuple(sorted({row for each in flags for row, flagged in enumerate(each) if flagged}))


def _empty_cache() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
