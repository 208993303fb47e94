"""The jobs "export" and "push": a data set in another format, and on the Hub."""

from __future__ import annotations

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.places import export_folder
from terrasynth.synthesis.service.specs import ExportSpec, PushSpec
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.tasks.base import Outcome, Work, licence_result, plain, statement

SHOWN = 1000  # files that a result names


def export(spec: ExportSpec, work: Work) -> Outcome:
    """Write the data set in another format; the same call goes on.

    Raises:
        InputError: No such data set or format, or what goes against its licence.
        RunError: The disk is full, or the run is damaged.
    """
    from terrasynth.synthesis.cards.licence_sources import WHOEVER
    from terrasynth.synthesis.export.exporting import export as export_run
    from terrasynth.synthesis.export.registry import load_exporter

    exporter = load_exporter(spec.format, dict(spec.options))
    done = export_run(work.folder(spec.data_set), exporter, export_folder(work.order.runs, spec.out),
                      shares=spec.splits, seed=spec.seed, stated=statement(spec.licence, WHOEVER),
                      ignore_review=spec.ignore_review)
    return Outcome(State.SUCCEEDED, {
        "folder": spec.out, "rows": plain(done.rows), "left_out": plain(done.left_out), "changed": done.changed,
        "notes": list(done.notes), "licence": licence_result(done.licence),
    })


def push(spec: PushSpec, work: Work) -> Outcome:
    """Publish the data set or an export of it, or say what would be sent.

    Raises:
        InputError: No such data set or export, or what the Hub, or a licence, does not allow.
        RunError: The Hub does not answer.
    """
    from terrasynth.synthesis.hub.pushing import PushSettings
    from terrasynth.synthesis.hub.pushing import push as push_folder

    folder = work.folder(spec.data_set)
    if spec.export is not None:
        folder = export_folder(work.order.runs, spec.export)
        if not folder.is_dir():
            raise InputError(f"there is no export {spec.export!r}; make it first")
    settings = PushSettings(spec.repo, spec.private, spec.revision, statement(spec.licence, "you"), spec.replace,
                            spec.dry_run, spec.offline, spec.ignore_review)
    done = push_folder(folder, settings, lambda line: print(line, flush=True))
    plan = done.plan
    return Outcome(State.SUCCEEDED, {
        "url": done.url, "commit": done.commit, "dry_run": spec.dry_run, "exists": plan.remote is not None,
        "rows": plan.rows, "bytes": plan.bytes, "notes": list(plan.notes), "licence": licence_result(plan.licence),
        "send": [{"path": file.path, "size": file.size} for file in plan.send[:SHOWN]],
        "keep": [{"path": file.path, "size": file.size} for file in plan.keep[:SHOWN]],
        "remove": list(plan.remove[:SHOWN]),
        "files": {"send": len(plan.send), "keep": len(plan.keep), "remove": len(plan.remove)},
        "compared": done.compared, "compared_what": done.what,
    })
