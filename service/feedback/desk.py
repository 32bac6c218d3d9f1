"""What takes feedback: the recent answers, and the log."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.feedback.given import GivenAnswer
from service.feedback.log import FeedbackLog
from service.feedback.recent import RecentAnswers


@dataclass(frozen=True)
class FeedbackDesk:
    """The recent answers and the log of one process."""

    recent: RecentAnswers
    log: FeedbackLog

    def remember(self, request_id: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """Keep the answers of a request, as JSON and in order. Errors among them are left out."""
        now_s = time.time()
        for image, content in enumerate(answers):
            if "error" not in content:
                self.recent.remember(request_id, image, GivenAnswer.from_json(content, now_s))
