"""FastAPI and ONNX Runtime: a plain `def` endpoint, which FastAPI runs in its thread pool."""

# pyright: reportMissingImports=false

from typing import Annotated

import uvicorn
from common import PORT, logits, session, top5, views
from fastapi import Body, FastAPI

app = FastAPI()
model = session()


@app.post("/classify")
def classify(image: Annotated[bytes, Body(media_type="image/jpeg")]) -> dict[str, object]:
    """Classify one image file."""
    return {"predictions": top5(logits(model, views(image)))}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
