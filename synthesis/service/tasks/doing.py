"""The process of a job: takes orders from its supervisor, does them, and says how they ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa

from terrasynth.synthesis.core.files import InUseError
from terrasynth.synthesis.service.children import NOT_ITS_FAULT
from terrasynth.synthesis.service.orders import Order
from terrasynth.synthesis.service.places import log_file
from terrasynth.synthesis.service.records import LeaseLostError
from terrasynth.synthesis.service.specs import (
    DrawSpec,
    EvaluateSpec,
    ExpandSpec,
    ExportSpec,
    NearestSpec,
    PlanSpec,
    PushSpec,
    RunSpec,
    parse_spec,
)
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.stops import Stopped, Stops
from terrasynth.synthesis.service.tasks.base import Outcome, Tools, Work
from terrasynth.synthesis.service.tasks.judging import judge
from terrasynth.synthesis.service.tasks.making import make
from terrasynth.synthesis.service.tasks.publishing import export, push
from terrasynth.synthesis.service.tasks.studio import Studio

IN_USE_SECONDS = 5.0


def take_orders(tools: Tools) -> int:
    """Do the orders on standard input until it ends, one is the last, or a stop is asked for; gives the exit code.

    Whatever is left then was not begun, or was given back: no order is to blame.
    """
    stops, studio = Stops(), Studio()
    for order in stops.orders():
        _print_into(log_file(order.runs, order.job))
        try:
            _do(order, stops, studio, tools)
        except LeaseLostError as error:
            print(error, file=sys.stderr, flush=True)
            break
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError) as error:
            print(f"the database cannot be reached: {error}", file=sys.stderr, flush=True)
            break
        if order.last:
            break
    return NOT_ITS_FAULT


def _do(order: Order, stops: Stops, studio: Studio, tools: Tools) -> None:
    """Do one job.

    Raises:
        LeaseLostError: The job was taken back meanwhile.
    """
    store = order.store()
    try:
        work = Work(order, store, order.lease(store), stops, tools)
        _settle(work, studio)
    finally:
        store.close()


def _settle(work: Work, studio: Studio) -> None:
    store, lease = work.store, work.lease
    try:
        with work.stops.holding(store, lease, work.order.lease_seconds):
            outcome = _outcome(work, studio)
    except Stopped:
        store.release(lease, work.stops.reason)
    except InUseError as error:
        store.postpone(lease, IN_USE_SECONDS, str(error))
    except (LeaseLostError, sa.exc.SQLAlchemyError):
        raise
    except Exception as error:
        said = work.tools.said(error).replace(f"{work.order.runs}/", "")  # a client knows data sets by their names
        print(f"failed: {said}", file=sys.stderr, flush=True)
        store.finish(lease, State.FAILED, error=said)
    else:
        if outcome.state is State.CANCELED:
            store.release(lease, work.stops.reason, outcome.result)
        else:
            store.finish(lease, outcome.state, outcome.result, outcome.error)


def _outcome(work: Work, studio: Studio) -> Outcome:
    spec = parse_spec(work.lease.job.spec)
    if isinstance(spec, RunSpec):
        return make(spec, work)
    with work.stops.cutting():  # none of these leaves anything half done
        match spec:
            case EvaluateSpec():
                return judge(spec, work)
            case ExportSpec():
                return export(spec, work)
            case PushSpec():
                return push(spec, work)
            case PlanSpec():
                return studio.plan(spec, work)
            case DrawSpec():
                return studio.draw(spec, work)
            case ExpandSpec():
                return studio.expand(spec, work)
            case NearestSpec():
                return studio.nearest(spec, work)


def _print_into(log: Path) -> None:
    """Let everything that this process prints, its libraries' C code included, go to the end of a file."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
