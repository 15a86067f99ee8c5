"""How the C library treats the memory of tensors on a CPU."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors.

    By default large tensors go back to the system when they are freed, and the next ones have their
    pages zeroed one by one at the first touch: a sixth of the time of a forward pass on two cores.
    What is kept is no more than the peak so far.

    Returns:
        Whether the C library knows how; it is glibc that does.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
