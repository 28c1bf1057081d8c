from invite_sweeper.atlas.bucket import Bucket
from invite_sweeper.atlas.limits import Limit


def drained(bucket, now_s):
    """Take what there is, each request answered at once without a header."""
    sent = 0
    while bucket.try_take(now_s) == 0.0:
        bucket.answered(now_s, limit=None, remaining=None, sent_s=now_s)
        sent += 1
    return sent


def test_without_any_header_a_full_bucket_gives_its_capacity_less_the_reserve():
    assert drained(Bucket(Limit(60, 60, 2), 0.1, 0.0), 0.0) == 54


def test_a_remaining_header_is_believed_over_our_own_count():
    bucket = Bucket(Limit(60, 60, 2), 0.1, 0.0)
    assert bucket.try_take(0.0) == 0.0
    bucket.answered(0.1, limit=60, remaining=6, sent_s=0.0)
    assert bucket.try_take(0.2) > 0.0
