//! May root use this file? One routine for plugins, hooks, configuration and state.
