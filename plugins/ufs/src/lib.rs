//! Freezes UFS through /dev/ufssuspend, one descriptor a filesystem.
