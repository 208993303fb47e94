"""Parameters and answers that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query

JobId = Annotated[str, Path(pattern="^[0-9a-z]{26}$", description="Id of a job.",
                            examples=["01h9v3xk2m7qf8r5t6w0y1z2a3"])]
JobQuery = Annotated[str, Query(pattern="^([0-9a-z]{26})?$")]
"""Id of a job in the address of a page; "" for none."""
DataSetName = Annotated[str, Path(min_length=1, max_length=255, description="Name of a data set.",
                                  examples=["coast"])]
RowId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Id of a row.", examples=["0f1e2d3c4b5a6978"])]
IdempotencyKey = Annotated[str | None, Header(
    alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$",
    description="A name of the client's for this request: sent again, it gets the same job, and makes no second one.")]
Wait = Annotated[float | None, Query(ge=0, le=600, description="Most seconds to wait for the result; without it the "
                                     "server's own limit.")]
