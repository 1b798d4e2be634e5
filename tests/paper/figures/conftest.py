from figure_checks import fits, row

__all__ = ["fits", "row"]
