//! Compiles the driver's request core, the same C files that are in the FreeBSD kernel module, into the simulator.

fn main() {
    let kmod = "../../kmod";
    for name in ["vss_core.c", "vss_core.h", "vss_ic.c", "vss_ic.h", "hv_snapshot.h", "hv_utilreg.h"] {
        println!("cargo::rerun-if-changed={kmod}/{name}");
    }
    cc::Build::new()
        .files([format!("{kmod}/vss_core.c"), format!("{kmod}/vss_ic.c")])
        .include(kmod)
        .std("c11")
        .define("_DEFAULT_SOURCE", None)
        .extra_warnings(true)
        .compile("vss_core");
}
