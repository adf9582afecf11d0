//! What a host asks for, and the two answers to it.

/// What a host can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Could a freeze succeed?
    Check,
    /// Bring everything to rest.
    Freeze,
    /// Let go.
    Thaw,
    /// A number this program doesn't know.
    Unknown(u32),
}

/// How a request ended: all that the host learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was done.
    Success,
    /// It was not done.
    Fail,
}

impl From<u32> for Operation {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Check,
            2 => Self::Freeze,
            3 => Self::Thaw,
            unknown => Self::Unknown(unknown),
        }
    }
}

impl Verdict {
    /// As the driver wants it.
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::Success => 0,
            Self::Fail => 1,
        }
    }
}
