"""`/v1/data-sets`: what there is, and its small files."""

from __future__ import annotations

import shutil
from typing import Annotated, Any, Literal

import yaml
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from pydantic import BaseModel, Field

from terrasynth.eval.pages.run_images import script_source
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.files import locked
from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.data_sets import BusyError, DataSet
from terrasynth.synthesis.service.files import read_file, regular_files
from terrasynth.synthesis.service.places import private_folder
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import new_id
from terrasynth.synthesis.service.references import named
from terrasynth.synthesis.service.routes.parameters import DataSetName

LARGEST = 32 * 2**20
# A page of a run has style and script in itself, and needs nothing else but its images. Of all scripts that a report
# may hold, the one that this version writes runs, and no other.
REPORT_POLICY = ("default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src {script}; "
                 "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
REPORT_TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json", ".png": "image/png",
                ".jpg": "image/jpeg"}
router = APIRouter(prefix="/v1/data-sets", tags=["data sets"])


class DataSetList(BaseModel):
    """All data sets, the last changed first."""

    data_sets: list[DataSet]


@router.get("", summary="List data sets")
def list_data_sets(service: ServiceOf) -> DataSetList:
    """Every run directory in the server's folder, whoever made it."""
    return DataSetList(data_sets=service.data_sets.all())


@router.get("/{name}", summary="Look at a data set")
def get(service: ServiceOf, name: DataSetName) -> DataSet:
    """Its state and how far it is."""
    return service.data_sets.one(name)


@router.delete("/{name}", status_code=204, summary="Delete a data set")
def delete(
    service: ServiceOf, name: DataSetName,
    confirm: Annotated[str, Query(max_length=255, description="The name once more.")] = "",
) -> Response:
    """Its images are gone for good; its jobs stay in the list of jobs."""
    folder = service.data_sets.folder(name)
    if confirm != name:
        raise Problem(422, "unconfirmed", f"to delete data set {name!r} for good, say its name once more: "
                      "?confirm=NAME")
    if job := service.data_sets.working(name):
        raise BusyError(f"data set {name!r} is {job.state} in job {job.id}; cancel the job first")
    trash = private_folder(service.settings.runs) / "deleted" / new_id()
    trash.parent.mkdir(mode=0o700, exist_ok=True)
    with locked(folder):  # whoever writes there outside of the service
        folder.rename(trash)  # gone at once: half a data set is seen by nobody
    service.data_sets.forget(name)
    shutil.rmtree(trash)
    return Response(status_code=204)


@router.get("/{name}/recipe", summary="Its recipe", responses={200: {"content": {
    "application/json": {"schema": {"type": "object"}}, "application/yaml": {"schema": {"type": "object"}}}}})
def recipe(service: ServiceOf, name: DataSetName, format: Literal["json", "yaml"] = "json") -> Response:
    """As a job takes it: what lies inside the server's folders of models and data is called by its name there."""
    tree: dict[str, Any] = named(service.data_sets.recipe(name).tree(), service.places)
    if format == "yaml":
        return PlainTextResponse(yaml.safe_dump(tree, sort_keys=False), media_type="application/yaml")
    return JSONResponse(tree)


@router.get("/{name}/card", summary="Its card", response_class=PlainTextResponse,
            responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}})
def card(service: ServiceOf, name: DataSetName) -> Response:
    """Markdown with a YAML header, as it is published."""
    found = read_file(service.data_sets.folder(name) / layout.CARD, LARGEST)
    if found is None:
        raise Problem(404, "no_card", f"data set {name!r} has no card yet; it is written when its run ends")
    return Response(found, media_type="text/markdown; charset=utf-8")


class ReportFiles(BaseModel):
    """What a report is made of.

    Attributes:
        files: Names for `/report/{file}`; `index.html` is the page.
    """

    files: list[str] = Field(examples=[["index.html", "report.json"]])


@router.get("/{name}/report", summary="The files of its report")
def report(service: ServiceOf, name: DataSetName) -> ReportFiles:
    """None before its run has ended."""
    return ReportFiles(files=regular_files(layout.report_folder(service.data_sets.folder(name))))


@router.get("/{name}/report/{file}", summary="A file of its report", response_class=Response, responses={200: {
    "content": {kind.partition(";")[0]: {} for kind in REPORT_TYPES.values()}}})
def report_file(service: ServiceOf, name: DataSetName, file: str) -> Response:
    """One of those that `/report` lists."""
    folder = layout.report_folder(service.data_sets.folder(name))
    kind = REPORT_TYPES.get(f".{file.rpartition('.')[2]}")
    found = read_file(folder / file, LARGEST) if kind and file in regular_files(folder) else None
    if found is None:
        raise Problem(404, "unknown_file", f"the report of data set {name!r} has no file {file[:80]!r}; "
                      f"/v1/data-sets/{name}/report lists those that it has")
    policy = REPORT_POLICY.format(script=script_source())
    return Response(found, media_type=kind, headers={"Content-Security-Policy": policy})


@router.get("/{name}/README.md", include_in_schema=False)
def beside_the_report_card(service: ServiceOf, name: DataSetName) -> Response:
    """Where a link of its report leads, which is made for the files of a run."""
    service.data_sets.folder(name)
    return RedirectResponse("card")


@router.get("/{name}/recipe.yaml", include_in_schema=False)
def beside_the_report_recipe(service: ServiceOf, name: DataSetName) -> Response:
    """As `beside_the_report_card`."""
    service.data_sets.folder(name)
    return RedirectResponse("recipe?format=yaml")
