from gateway.storage.webhooks import DeliveryRow
from gateway.webhooks.lines import IN_MEMORY_MOST, Target


class Story:
    """A target, its deliveries made on the go, and what was tried in which order."""

    def __init__(self):
        self.target = Target("http://receiver")
        self.seq = 0

    def put(self, line, event, due=0.0):
        self.seq += 1
        row = DeliveryRow(f"{line}-{self.seq}", self.seq, "", line, "", line, "", "", event, 0, b"")
        self.target.put(row, due)
        return row

    def take(self):
        assert self.target.next_due() is not None
        return self.target.take()

    def done(self, row):
        self.target.tried(row, again=None, next_due=0.0)

    def failed(self, row, again):
        self.target.tried(row, again=again, next_due=0.0)


def test_a_line_goes_in_order_and_lines_go_beside_each_other():
    story = Story()
    first, second = story.put("a", "created"), story.put("a", "started")
    other = story.put("b", "created")
    assert story.take() is first
    assert story.take() is other
    assert story.target.next_due() is None  # the second waits for the first
    story.done(first)
    assert story.take() is second
    story.done(second)
    story.done(other)
    assert story.target.is_idle


def test_a_delivery_that_fails_is_due_later_and_holds_up_its_line_only():
    story = Story()
    first, second = story.put("a", "created"), story.put("a", "started")
    assert story.take() is first
    story.failed(first, again=9.0)
    assert story.target.next_due() == 9.0
    other = story.put("b", "created", due=1.0)
    assert story.target.next_due() == 1.0
    assert story.take() is other
    assert story.take() is first
    story.done(first)
    assert story.take() is second


def test_newer_progress_takes_the_place_of_older():
    story = Story()
    story.put("a", "started")
    story.put("a", "progress")
    newest = story.put("a", "progress")
    story.done(story.take())
    assert story.target.size == 1
    assert story.take() is newest


def test_progress_that_is_being_tried_stays_and_goes_when_it_fails_and_there_is_newer():
    story = Story()
    old = story.put("a", "progress")
    assert story.take() is old
    newer = story.put("a", "progress")
    story.failed(old, again=5.0)
    assert story.target.next_due() == 5.0  # the receiver is not asked sooner for that
    assert story.take() is newer
    story.failed(newer, again=7.0)
    assert story.take() is newer  # nothing newer: tried again


def test_newer_progress_comes_when_the_older_would_have():
    story = Story()
    old = story.put("a", "progress")
    story.take()
    old.attempts, old.next_at = 3, 70_000
    story.failed(old, again=7.0)
    newer = story.put("a", "progress", due=7.0)
    assert (newer.attempts, newer.next_at) == (3, 70_000)
    assert story.target.next_due() == 7.0


def test_an_end_takes_the_place_of_progress():
    story = Story()
    story.put("a", "progress", due=50.0)
    end = story.put("a", "completed")
    assert story.target.size == 1
    assert story.take() is end


def test_what_is_too_much_stays_on_disk_and_order_holds():
    story = Story()
    rows = [story.put(f"line {n}", "created") for n in range(IN_MEMORY_MOST)]
    left = story.put("one more", "created")
    assert (story.target.size, story.target.left_on_disk) == (IN_MEMORY_MOST, left.seq)
    assert not story.target.wants_more
    for _ in range(IN_MEMORY_MOST // 2):
        story.done(story.take())
    assert story.target.wants_more
    another = story.put("line 1999", "started")  # room in memory, but one before it is on disk
    assert story.target.left_on_disk == another.seq
    story.target.load(left, 0.0)
    story.target.put(left, 0.0)  # read already: it is there once
    assert story.target.size == IN_MEMORY_MOST - IN_MEMORY_MOST // 2 + 1
    assert rows[-1].seq < left.seq < another.seq
