//! End-to-end stories: a real daemon, real freezes, judged from outside.
