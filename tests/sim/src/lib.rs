//! A simulated Hyper-V host and VSS driver behind real device nodes (FUSE).
