"""`mixer sample`: six small sources of real text, made from what every installation of Python has."""

from mixer.sample.make import SampleReport, SourceReport, make_sample

__all__ = ["SampleReport", "SourceReport", "make_sample"]
