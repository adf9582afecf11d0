//! The five pools.

/// The five pools, by the numbers that the host uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// The host's administrator writes, the guest reads.
    External,
    /// The guest writes, the host reads.
    Guest,
    /// What the daemon computes. Nothing can be set in it.
    Auto,
    /// What Hyper-V itself tells the guest, such as the host's name.
    AutoExternal,
    /// Of the guest's integration services.
    AutoInternal,
}

impl Pool {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::External, Self::Guest, Self::Auto, Self::AutoExternal, Self::AutoInternal];

    /// The pool of this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::External => 0,
            Self::Guest => 1,
            Self::Auto => 2,
            Self::AutoExternal => 3,
            Self::AutoInternal => 4,
        }
    }

    /// Its name in vssctl(8).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Guest => "guest",
            Self::Auto => "auto",
            Self::AutoExternal => "auto-external",
            Self::AutoInternal => "auto-internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_below_five_is_a_pool_and_no_other() {
        for number in 0..=u8::MAX {
            assert_eq!(Pool::of(number).map(Pool::number), (number < 5).then_some(number));
        }
    }
}
