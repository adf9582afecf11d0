//! A plugin in Rust that panics where its setting says: `in` names the method, `with` what kind of panic. The tests of the SDK load it.

use hv_vss_plugin::{About, Claim, Failure, Level, Mount, Opening, Plugin, Step, export_plugin};

struct Panics {
    method: String,
    kind: String,
}

/// Something whose own destruction panics: a trap for whoever catches it.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("and once more in drop");
    }
}

impl Panics {
    fn called(&self, method: &str) {
        if self.method == method {
            match self.kind.as_str() {
                "payload" => std::panic::panic_any(Trap),
                "index" => drop(self.kind.as_bytes()[self.kind.len()]),
                _ => panic!("{method} can't go on"),
            }
        }
    }
}

impl Plugin for Panics {
    const ABOUT: About =
        About { application: true, ..About::filesystem("panics", "0.1", "Panics where it is told to") };

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        opening.config.refuse_unknown(&["in", "with"])?;
        let setting = |key| opening.config.get(key).unwrap_or_default().to_owned();
        let plugin = Self { method: setting("in"), kind: setting("with") };
        opening.host.log(Level::Info, "opened, and a null byte \0 ends this line");
        plugin.called("open");
        Ok(plugin)
    }

    fn check(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        self.called("check");
        Err(Failure::Refused("é".repeat(10_000)))
    }

    fn claim(&mut self, _step: &Step<'_>, mount: &Mount<'_>) -> Claim {
        self.called("claim");
        Claim::Ignore(format!("{mount:?}"))
    }

    fn freeze(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        self.called("freeze");
        Ok(())
    }

    fn thaw(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        self.called("thaw");
        Ok(())
    }

    fn close(self) {
        self.called("close");
    }
}

export_plugin!(Panics);
