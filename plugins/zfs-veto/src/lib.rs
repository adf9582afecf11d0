//! Claims what nobody can freeze, and vetoes the backup with the reason and the remedy.
