//! What the host heard: the answers that our driver gave it, whichever program caused them.
//!
//! A program that answers a request learns from its WRITE at most that it came too late. Whether
//! the host then heard success, and which application or limit prevented it, only the driver can
//! tell. It keeps the last 16 requests.

use std::fmt;

use hv_vss_types::Operation;

use crate::ioctl::WireHeard;

/// The driver's account, as of one call of [`Device::heard`](crate::Device::heard).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How many requests were answered since the driver was attached.
    pub total: u64,
    /// The last request that this descriptor answered when the answer was no longer awaited.
    pub late: Option<u64>,
    /// How many applications have their node open.
    pub applications: u32,
    /// Those of them whose process the driver tells: all, for the daemon; none, for an application.
    pub application_processes: Vec<Application>,
    /// The last requests, the oldest first; 16 at most.
    pub requests: Vec<HeardRequest>,
}

/// One request of the host that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardRequest {
    /// Its place among all since the driver was attached, from 1.
    pub number: u64,
    /// The id that READ delivered, if it was delivered at all: a busy driver answers by itself.
    pub msgid: u64,
    /// What the host asked for.
    pub operation: Operation,
    /// What the host heard.
    pub answer: Answer,
    /// Why.
    pub reason: Reason,
}

/// What reached the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Success.
    Success,
    /// A failure.
    Fail,
    /// Nothing: the channel to the host refused the answer, or was closed.
    Nothing,
}

/// An application on the driver's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Application {
    /// Its number, from 1. The lowest free number is given to the next one that opens the node.
    pub number: u32,
    /// The process that opened the node; none if the driver does not tell.
    pub pid: Option<i32>,
}

/// Why a request was answered as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// All that were asked said yes. The only reason for a success.
    Done,
    /// The daemon said no.
    DaemonRefused,
    /// The daemon did not answer within the driver's limit.
    DaemonTimeout,
    /// The daemon closed its node before the request was over.
    DaemonGone,
    /// No daemon had its node open when the request came.
    NoDaemon,
    /// An application said no.
    ApplicationRefused(Application),
    /// An application did not answer within the driver's limit.
    ApplicationTimeout(Application),
    /// An application closed its node before the request was over.
    ApplicationGone(Application),
    /// Another request was at hand.
    Busy,
    /// A THAW took the place of this CHECK or FREEZE.
    Displaced,
    /// The driver was detached.
    Detached,
    /// A reason that a later driver has and this program does not know.
    Unknown(u32),
}

impl Heard {
    /// None: the driver left everything zero (the one in base), or what it says can't be.
    pub(crate) fn from_wire(wire: &WireHeard) -> Option<Self> {
        let count = usize::try_from(wire.count).ok()?;
        let kept = wire.req.get(..count)?;
        let before = wire.total.checked_sub(u64::from(wire.count))?;
        if wire.version == 0 {
            return None;
        }
        let pids = (1..).zip(wire.app_pid).filter(|(_, pid)| *pid > 0);
        let requests = (before + 1..).zip(kept).map(|(number, request)| {
            let application = Application { number: request.app, pid: (request.pid > 0).then_some(request.pid) };
            Some(HeardRequest {
                number,
                msgid: request.msgid,
                operation: Operation::from(request.opt),
                answer: match request.status {
                    0 => Answer::Success,
                    1 => Answer::Fail,
                    2 => Answer::Nothing,
                    _ => return None,
                },
                reason: Reason::from_wire(request.why, application),
            })
        });
        Some(Self {
            total: wire.total,
            late: (wire.late != 0).then_some(wire.late),
            applications: wire.apps,
            application_processes: pids.map(|(number, pid)| Application { number, pid: Some(pid) }).collect(),
            requests: requests.collect::<Option<_>>()?,
        })
    }

    /// The request with this id, if it is over and among those that are kept.
    #[must_use]
    pub fn of(&self, msgid: u64) -> Option<&HeardRequest> {
        self.requests.iter().rev().find(|request| request.msgid == msgid)
    }

    /// The requests that are over since `total` was read in an earlier account (0: none was).
    pub fn since(&self, total: u64) -> impl Iterator<Item = &HeardRequest> {
        self.requests.iter().filter(move |request| request.number > total)
    }

    /// How many requests since `total` was read are no longer kept, so that nothing is known of them.
    #[must_use]
    pub fn missed(&self, total: u64) -> u64 {
        let kept = u64::try_from(self.requests.len()).unwrap_or(u64::MAX);
        self.total.saturating_sub(total).saturating_sub(kept)
    }
}

impl Reason {
    fn from_wire(why: u32, application: Application) -> Self {
        match why {
            1 => Self::Done,
            2 => Self::DaemonRefused,
            3 => Self::DaemonTimeout,
            4 => Self::DaemonGone,
            5 => Self::NoDaemon,
            6 => Self::ApplicationRefused(application),
            7 => Self::ApplicationTimeout(application),
            8 => Self::ApplicationGone(application),
            9 => Self::Busy,
            10 => Self::Displaced,
            11 => Self::Detached,
            unknown => Self::Unknown(unknown),
        }
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application {}", self.number)?;
        match self.pid {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("all that were asked agreed"),
            Self::DaemonRefused => f.write_str("the daemon refused"),
            Self::DaemonTimeout => f.write_str("the daemon did not answer within the driver's limit"),
            Self::DaemonGone => f.write_str("the daemon closed the driver's node before its answer"),
            Self::NoDaemon => f.write_str("no daemon had the driver's node open"),
            Self::ApplicationRefused(application) => write!(f, "{application} on the driver's node refused"),
            Self::ApplicationTimeout(application) => {
                write!(f, "{application} on the driver's node did not answer within the driver's limit")
            }
            Self::ApplicationGone(application) => {
                write!(f, "{application} closed the driver's node before the request was over")
            }
            Self::Busy => f.write_str("another request was at hand"),
            Self::Displaced => f.write_str("a THAW came and took its place"),
            Self::Detached => f.write_str("the driver was detached"),
            Self::Unknown(number) => write!(f, "the driver gives reason {number}, which this program does not know"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ioctl::WireHeardRequest;

    fn wire(total: u64, requests: &[WireHeardRequest]) -> WireHeard {
        let mut wire = WireHeard { version: 1, total, ..WireHeard::default() };
        wire.count = u32::try_from(requests.len()).unwrap();
        wire.req[..requests.len()].copy_from_slice(requests);
        wire
    }

    fn request(msgid: u64, status: u32, why: u32) -> WireHeardRequest {
        WireHeardRequest { msgid, opt: 2, status, why, ..WireHeardRequest::default() }
    }

    #[test]
    fn the_zeros_of_the_driver_in_base_are_not_known() {
        assert_eq!(Heard::from_wire(&WireHeard::default()), None);
    }

    #[test]
    fn an_account_that_cannot_be_is_not_known() {
        let mut too_many = wire(99, &[]);
        too_many.count = 17;
        assert_eq!(Heard::from_wire(&too_many), None);
        assert_eq!(Heard::from_wire(&wire(0, &[request(1, 0, 1)])), None, "1 is kept, of 0 in all");
        assert_eq!(Heard::from_wire(&wire(1, &[request(1, 3, 1)])), None, "status 3 has no meaning");
    }

    #[test]
    fn requests_are_numbered_on_and_found_by_id() {
        let heard = Heard::from_wire(&wire(20, &[request(7, 0, 1), request(8, 1, 9), request(9, 2, 11)])).unwrap();
        let numbers: Vec<_> = heard.requests.iter().map(|request| request.number).collect();
        assert_eq!(numbers, [18, 19, 20]);
        assert_eq!(heard.of(8).unwrap().reason, Reason::Busy);
        assert_eq!(heard.of(9).unwrap().answer, Answer::Nothing);
        assert_eq!(heard.of(10), None);
        assert_eq!(heard.since(18).map(|request| request.msgid).collect::<Vec<_>>(), [8, 9]);
        assert_eq!((heard.missed(20), heard.missed(17), heard.missed(15), heard.missed(0)), (0, 0, 2, 17));
    }

    #[test]
    fn each_reason_has_a_name_and_an_application_its_process() {
        for why in 0..=12 {
            let mut said = request(1, 1, why);
            (said.app, said.pid) = (3, 812);
            let heard = Heard::from_wire(&wire(1, &[said])).unwrap();
            let sentence = heard.requests[0].reason.to_string();
            assert_eq!(sentence.contains("does not know"), why == 0 || why == 12, "{why}: {sentence}");
            assert_eq!(sentence.contains("application 3 (process 812)"), (6..=8).contains(&why), "{why}: {sentence}");
        }
        let untold = Application { number: 2, pid: None };
        assert_eq!(
            Reason::ApplicationGone(untold).to_string(),
            "application 2 closed the driver's node before the request was over"
        );
    }

    #[test]
    fn processes_of_applications_are_told_by_number() {
        let mut told = wire(0, &[]);
        (told.apps, told.late) = (2, 44);
        (told.app_pid[0], told.app_pid[4]) = (100, 500);
        let heard = Heard::from_wire(&told).unwrap();
        assert_eq!((heard.applications, heard.late), (2, Some(44)));
        let expected = [(1, 100), (5, 500)].map(|(number, pid)| Application { number, pid: Some(pid) });
        assert_eq!(heard.application_processes, expected);
    }
}
