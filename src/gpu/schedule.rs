//! The choice of a device for a slot.
//!
//! Runs in the engine, on the dispatcher's thread. The unit is the row group: its slots go to one device for as
//! long as that one has any of them or, where it keeps their columns, until its process begins another group; a
//! group that no device knows goes to the one with the fewest bytes outstanding.

use std::collections::HashMap;
use std::str::FromStr;

use super::DeviceInfo;
use super::groups::owner;

/// `pg_strata.gpu_selection_policy`: the devices that groups may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The devices with the fastest measured link to the pool, else those on its NUMA node, else all.
    #[default]
    Optimal,
    /// The devices on the pool's NUMA node; all if there are none, or if the node is not known.
    Numa,
    /// All devices.
    System,
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(name: &str) -> Result<Policy, String> {
        match name {
            "optimal" => Ok(Policy::Optimal),
            "numa" => Ok(Policy::Numa),
            "system" => Ok(Policy::System),
            _ => Err(format!("no GPU selection policy \"{name}\"")),
        }
    }
}

/// Whether a device's link is as good as the best one: at least three quarters as fast.
fn is_close(link: u64, best: u64) -> bool {
    link >= best / 4 * 3
}

/// Returns the places in `devices` that the policy allows, by ordinal. `near` is the pool's NUMA node.
pub fn allowed(policy: Policy, devices: &[DeviceInfo], near: Option<u32>) -> Vec<usize> {
    let mut all: Vec<usize> = (0..devices.len()).collect();
    all.sort_by_key(|&place| devices[place].ordinal);
    let on_node = || -> Vec<usize> {
        all.iter().copied().filter(|&place| near.is_some() && devices[place].numa_node == near).collect()
    };
    let link = |place: usize| devices[place].h2d.min(devices[place].d2h);
    let best = all.iter().map(|&place| link(place)).max().unwrap_or(0);
    let found = match policy {
        Policy::System => Vec::new(),
        Policy::Optimal if all.iter().all(|&place| link(place) > 0) => {
            all.iter().copied().filter(|&place| is_close(link(place), best)).collect()
        }
        Policy::Optimal | Policy::Numa => on_node(),
    };
    if found.is_empty() { all } else { found }
}

/// The slots that are outstanding on each device.
pub struct Schedule {
    allowed: Vec<usize>,
    devices: Vec<Load>,
    groups: HashMap<u64, Group>,
    /// The group whose columns a device keeps and the device's place, by process.
    kept: HashMap<u64, (u64, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub slots: usize,
    pub bytes: u64,
}

struct Group {
    device: usize,
    slots: usize,
}

impl Schedule {
    /// A schedule for as many devices. Those at the `allowed` places are used; of equally loaded ones, the first.
    pub fn new(devices: usize, allowed: Vec<usize>) -> Schedule {
        debug_assert!(!allowed.is_empty() && allowed.iter().all(|&place| place < devices));
        Schedule {
            allowed,
            devices: vec![Load::default(); devices],
            groups: HashMap::new(),
            kept: HashMap::new(),
        }
    }

    /// Returns the place of the device for a slot, which counts as outstanding there from now on. With `keeps`, all slots
    /// of the group go to one device.
    pub fn assign(&mut self, group: u64, bytes: u64, keeps: bool) -> usize {
        let devices = &self.devices;
        let least = || self.allowed.iter().copied().min_by_key(|&place| devices[place].bytes).unwrap_or(0);
        let kept = self.kept.get(&owner(group)).filter(|(known, _)| *known == group).map(|(_, place)| *place);
        let known = self.groups.entry(group);
        let known = known.or_insert_with(|| Group { device: kept.unwrap_or_else(least), slots: 0 });
        known.slots += 1;
        if keeps {
            self.kept.insert(owner(group), (group, known.device));
        }
        let load = &mut self.devices[known.device];
        load.slots += 1;
        load.bytes += bytes;
        known.device
    }

    /// Notes that an assigned slot has come back, done or failed.
    pub fn finished(&mut self, device: usize, group: u64, bytes: u64) {
        let load = &mut self.devices[device];
        load.slots = load.slots.saturating_sub(1);
        load.bytes = load.bytes.saturating_sub(bytes);
        if let Some(known) = self.groups.get_mut(&group) {
            known.slots -= 1;
            if known.slots == 0 {
                self.groups.remove(&group);
            }
        }
    }

    pub fn load(&self, device: usize) -> Load {
        self.devices[device]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ordinal: u32, numa_node: Option<u32>, link: u64) -> DeviceInfo {
        DeviceInfo { ordinal, numa_node, h2d: link, d2h: link, ..DeviceInfo::default() }
    }

    #[test]
    fn policies() {
        let known = [device(3, Some(1), 0), device(1, Some(0), 0), device(2, Some(1), 0), device(0, None, 0)];
        let all = vec![3, 1, 2, 0];
        for policy in [Policy::Optimal, Policy::Numa] {
            assert_eq!(allowed(policy, &known, Some(1)), [2, 0]);
            assert_eq!(allowed(policy, &known, Some(7)), all, "none is near");
            assert_eq!(allowed(policy, &known, None), all, "not known");
        }
        assert_eq!(allowed(Policy::System, &known, Some(1)), all);
        let measured = [device(0, Some(0), 50), device(1, Some(1), 20), device(2, Some(1), 40)];
        assert_eq!(allowed(Policy::Optimal, &measured, Some(1)), [0, 2]);
        assert_eq!(allowed(Policy::Numa, &measured, Some(1)), [1, 2]);
        assert_eq!("numa".parse(), Ok(Policy::Numa));
        assert!("nearest".parse::<Policy>().is_err());
    }

    #[test]
    fn groups_stay_and_the_least_loaded_gets_the_next() {
        let mut schedule = Schedule::new(3, vec![0, 2]);
        assert_eq!(schedule.assign(10, 100, false), 0, "ties to the first");
        assert_eq!(schedule.assign(11, 70, false), 2);
        assert_eq!(schedule.assign(10, 500, false), 0, "its group is there");
        assert_eq!(schedule.assign(12, 30, false), 2);
        assert_eq!(schedule.assign(11, 1, false), 2);
        assert_eq!((schedule.load(0).bytes, schedule.load(1).slots, schedule.load(2).bytes), (600, 0, 101));
        schedule.finished(0, 10, 500);
        assert_eq!(schedule.assign(10, 10, false), 0, "not all of it has come back");
        schedule.finished(0, 10, 100);
        schedule.finished(0, 10, 10);
        assert_eq!(schedule.load(0), Load::default());
        schedule.assign(13, 200, false);
        assert_eq!(schedule.assign(10, 1, false), 2, "nobody knows the group any more");
    }

    #[test]
    fn kept_groups_stay_until_their_process_begins_another() {
        let mut schedule = Schedule::new(2, vec![0, 1]);
        let group = |process: u64, block: u64| process << 40 | block;
        assert_eq!(schedule.assign(group(7, 1), 10, true), 0);
        schedule.finished(0, group(7, 1), 10);
        assert_eq!(schedule.assign(group(8, 1), 5, true), 0, "nothing is outstanding");
        assert_eq!(schedule.assign(group(7, 1), 10, true), 0, "it is kept there");
        assert_eq!(schedule.assign(group(7, 2), 10, true), 1, "the least loaded");
        schedule.finished(0, group(7, 1), 10);
        schedule.finished(0, group(8, 1), 5);
        assert_eq!(schedule.assign(group(7, 2), 10, true), 1);
    }

    #[test]
    fn equal_groups_are_shared_out_equally() {
        for devices in [1, 2, 4, 8] {
            let mut schedule = Schedule::new(devices, (0..devices).collect());
            for slot in 0..devices as u64 * 12 {
                schedule.assign(slot / 4, 1000, false);
            }
            let loads: Vec<_> = (0..devices).map(|place| schedule.load(place)).collect();
            assert_eq!(loads, vec![Load { slots: 12, bytes: 12_000 }; devices]);
        }
    }
}
