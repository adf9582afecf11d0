//! The VSS driver's device files: the message, the ioctls, waiting for a request.
