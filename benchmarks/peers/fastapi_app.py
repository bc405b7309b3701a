"""FastAPI, with the model in its thread pool, as its documentation advises for work that blocks."""

from benchmarks.peers.classifier import classify
from fastapi import FastAPI, Request  # type: ignore[import-not-found]
from fastapi.concurrency import run_in_threadpool  # type: ignore[import-not-found]

app = FastAPI()


@app.get("/ping")  # type: ignore[untyped-decorator]
def ping() -> dict[str, str]:
    """Say that it is up."""
    return {}


@app.post("/invocations")  # type: ignore[untyped-decorator]
async def invocations(request: Request) -> list[float]:
    """Answer with the probabilities."""
    return await run_in_threadpool(classify, await request.body())  # type: ignore[no-any-return]
