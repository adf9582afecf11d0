//! Compiles the driver's request core, the same C files that are in the FreeBSD kernel module, into the simulator.

fn main() {
    let broker = "../../kmod/broker";
    for name in ["vss_core.c", "vss_core.h", "vss_ic.c", "vss_ic.h", "hv_snapshot.h", "hv_utilreg.h"] {
        println!("cargo::rerun-if-changed={broker}/{name}");
    }
    cc::Build::new()
        .files([format!("{broker}/vss_core.c"), format!("{broker}/vss_ic.c")])
        .include(broker)
        .std("c11")
        .define("_DEFAULT_SOURCE", None)
        .extra_warnings(true)
        .compile("vss_core");
}
