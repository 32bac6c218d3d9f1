"""Open the feedback log and the memory of recent answers, as the settings say."""

from service.api.server.shared_memory import Shared, Slot
from service.errors import UsageError
from service.feedback.desk import FeedbackDesk
from service.feedback.log import FeedbackLog
from service.feedback.recent import RecentAnswers, ring_bytes
from service.settings import Settings, variable_of


def room_bytes(settings: Settings) -> int:
    """Shared memory that one worker needs for its recent answers."""
    return ring_bytes(settings.feedback_answers) if settings.feedback_folder else 0


def check_folder(settings: Settings) -> FeedbackLog | None:
    """The log of feedback; None: feedback is off.

    Raises:
        UsageError: no file can be written into its folder.
    """
    folder = settings.feedback_folder
    if folder is None:
        return None
    log = FeedbackLog(folder, settings.feedback_max_bytes)
    try:
        log.open()
    except OSError as error:
        raise UsageError(
            f"{variable_of('feedback_folder')}={str(folder)!r}: no files can be written there: "
            f"{error.strerror or error}"
        ) from error
    return log


def opened_desk(
    settings: Settings, shared: Shared | None = None, slot: Slot | None = None
) -> FeedbackDesk | None:
    """What takes feedback; None: feedback is off.

    Raises:
        UsageError: see `check_folder`.
    """
    log = check_folder(settings)
    if log is None:
        return None
    answers, size = settings.feedback_answers, ring_bytes(settings.feedback_answers)
    if shared is None or slot is None or len(slot.room) < size:
        return FeedbackDesk(RecentAnswers(answers), log)
    return FeedbackDesk(RecentAnswers(answers, slot.room[:size], shared.rooms), log)
