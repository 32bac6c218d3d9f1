"""FastAPI and ONNX Runtime: a plain `def` endpoint, which FastAPI runs in its thread pool."""

from typing import Annotated

import uvicorn
from common import PORT, session, top5, views
from fastapi import Body, FastAPI

app = FastAPI()
model = session()


@app.post("/classify")
def classify(image: Annotated[bytes, Body(media_type="image/jpeg")]) -> dict[str, object]:
    """Classify one image file."""
    (logits,) = model.run(["logits"], {"images": views(image)})
    return {"predictions": top5(logits)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
