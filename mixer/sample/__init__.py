"""`mixer sample`: six small sources of real text, made from the files of any Python installation."""

from mixer.sample.make import SampleReport, SourceReport, make_sample

__all__ = ["SampleReport", "SourceReport", "make_sample"]
