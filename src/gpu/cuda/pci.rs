//! A device's PCI link and NUMA node, from /sys/bus/pci/devices.

use std::fs;
use std::path::Path;

/// Returns the link, as in "gen5 x16", empty if it is unknown, and the NUMA node.
pub fn place(bus_id: &str) -> (String, Option<u32>) {
    let folder = Path::new("/sys/bus/pci/devices").join(bus_id.to_ascii_lowercase());
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_string();
    // The current speed falls while a device idles, so the link's maximum is read.
    (link(&read("max_link_speed"), &read("current_link_width")), read("numa_node").parse().ok())
}

fn link(speed: &str, width: &str) -> String {
    let generation = match speed.split_whitespace().next() {
        Some("2.5") => 1,
        Some("5.0" | "5") => 2,
        Some("8.0" | "8") => 3,
        Some("16.0" | "16") => 4,
        Some("32.0" | "32") => 5,
        Some("64.0" | "64") => 6,
        _ => return String::new(),
    };
    match width.parse::<u32>() {
        Ok(width) if (1..=32).contains(&width) => format!("gen{generation} x{width}"),
        _ => format!("gen{generation}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_as_people_say_them() {
        assert_eq!(link("32.0 GT/s PCIe", "16"), "gen5 x16");
        assert_eq!(link("2.5 GT/s PCIe", "1"), "gen1 x1");
        assert_eq!(link("16.0 GT/s", "0"), "gen4");
        assert_eq!(link("Unknown", "63"), "");
        assert_eq!(place("no such device"), (String::new(), None));
    }
}
