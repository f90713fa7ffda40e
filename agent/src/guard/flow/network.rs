//! Hosts of the policy as the kernel's side looks them up: by prefix of the address, then by port. Names are
//! looked up here, again and again, because it knows addresses only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, ToSocketAddrs};

use vitrine_policy::Policy;
use vitrine_policy::facts::Destination;
use vitrine_policy::matcher::Hosts;

use super::mirror::ceiling_of;
use super::record;

/// A prefix of mapped addresses and its length in bits.
type Prefix = (Ipv6Addr, u32);

/// What the policy's names stand for.
pub(super) type Addresses = BTreeMap<String, BTreeSet<IpAddr>>;

/// All host names that the policy names.
pub(super) fn names(policy: &Policy) -> BTreeSet<String> {
    let hosts = policy.destinations.iter().flat_map(|entry| &entry.hosts);
    hosts.filter_map(|host| if let Hosts::Name(name) = &host.hosts { Some(name.clone()) } else { None }).collect()
}

/// Asks for each name; one that cannot be found keeps the addresses it had. Waits for the network.
pub(super) fn resolve(names: &BTreeSet<String>, before: &Addresses) -> Addresses {
    let one = |name: &String| {
        let found: BTreeSet<IpAddr> = match (name.as_str(), 0).to_socket_addrs() {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => {
                tracing::debug!("{name} cannot be looked up: {error}");
                before.get(name).cloned().unwrap_or_default()
            }
        };
        (name.clone(), found)
    };
    names.iter().map(one).collect()
}

/// The name servers that this machine asks (resolv.conf(5)).
pub(super) fn resolvers(text: &str) -> BTreeSet<IpAddr> {
    text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok()).collect()
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn holds((address, length): Prefix, other: Ipv6Addr) -> bool {
    let shift = 128 - length.min(128);
    let bits = |address: Ipv6Addr| u128::from(address).checked_shr(shift).unwrap_or_default();
    bits(address) == bits(other)
}

/// An address that lies in `prefix` and in none of the narrower ones, where there is such.
fn representative(prefix: Prefix, all: &BTreeSet<Prefix>) -> Ipv6Addr {
    let (address, length) = prefix;
    let free = |candidate: &Ipv6Addr| all.iter().all(|other| other.1 <= length || !holds(*other, *candidate));
    let size = 128 - length.min(128);
    let candidates = (0..size.min(64)).map(|bit| Ipv6Addr::from(u128::from(address) | 1 << bit));
    std::iter::once(address).chain(candidates).find(free).unwrap_or(address)
}

/// The entries of the kernel's table.
pub(super) fn table(
    policy: &Policy,
    addresses: &Addresses,
    resolvers: &BTreeSet<IpAddr>,
) -> Vec<(record::network, record::hosts)> {
    let patterns = || policy.destinations.iter().flat_map(|entry| &entry.hosts);
    let ports: BTreeSet<u16> = patterns().filter_map(|host| host.port).collect();
    let networks = patterns().filter_map(|host| match &host.hosts {
        Hosts::Network(network) => {
            let more = if network.addr().is_ipv4() { 96 } else { 0 };
            Some((mapped(network.addr()), u32::from(network.prefix_len()) + more))
        }
        _ => None,
    });
    let single = addresses.values().flatten().chain(resolvers).map(|address| (mapped(*address), 128));
    let all: BTreeSet<Prefix> = networks.chain(single).collect();
    all.iter().map(|prefix| (network(*prefix), hosts(policy, addresses, resolvers, *prefix, &all, &ports))).collect()
}

fn network((address, length): Prefix) -> record::network {
    record::network { prefix: length, address: address.octets() }
}

fn hosts(
    policy: &Policy,
    addresses: &Addresses,
    resolvers: &BTreeSet<IpAddr>,
    prefix: Prefix,
    all: &BTreeSet<Prefix>,
    ports: &BTreeSet<u16>,
) -> record::hosts {
    let address = representative(prefix, all).to_canonical();
    let named: Vec<Option<&String>> =
        addresses.iter().filter(|(_, found)| found.contains(&address)).map(|(name, _)| Some(name)).collect();
    // Of several names on one address the kernel cannot tell which was meant: the lowest ceiling counts.
    let names = if named.is_empty() { vec![None] } else { named };
    let ceiling = |port: u16| {
        let of = |name: &Option<&String>| {
            ceiling_of(policy, &Destination::Host { name: name.cloned(), address: Some(address), port })
        };
        names.iter().map(of).min().unwrap_or_default()
    };
    let other = (1..=u16::MAX).find(|port| !ports.contains(port)).unwrap_or(1);
    let mut hosts = record::hosts { ceiling: ceiling(other), ..record::hosts::default() };
    hosts.is_resolver = u8::from(resolvers.contains(&address));
    let special = ports.iter().map(|port| (*port, ceiling(*port))).filter(|(_, found)| *found != hosts.ceiling);
    // More than these do not fit: the rest keeps what holds for all other ports.
    for (place, (port, found)) in special.take(hosts.numbers.len()).enumerate() {
        hosts.numbers[place] = port;
        hosts.ceilings[place] = found;
        hosts.ports += 1;
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(
            "p",
            &format!("version = 1\nmode = \"enforce\"\n[[tier]]\nname = \"public\"\nmax-megapixels = 6\n{text}"),
        )
        .expect("a policy")
    }

    fn found(table: &[(record::network, record::hosts)], address: &str, port: u16) -> u8 {
        let address = mapped(address.parse().expect("an address"));
        let holds = |network: &record::network| holds((Ipv6Addr::from(network.address), network.prefix), address);
        let narrowest = table.iter().filter(|(network, _)| holds(network)).max_by_key(|(network, _)| network.prefix);
        narrowest.map_or(0, |(_, hosts)| {
            let special = hosts.numbers.iter().take(hosts.ports.into()).position(|known| *known == port);
            special.map_or(hosts.ceiling, |place| hosts.ceilings[place])
        })
    }

    #[test]
    fn the_longest_prefix_and_then_the_port_decide() {
        let policy = policy(
            "[[destination]]\nname = \"net\"\nhosts = [\"203.0.113.0/24\"]\nceiling = \"public\"\n\
             [[destination]]\nname = \"one\"\nhosts = [\"203.0.113.0:22\", \"cms.example:443\"]\nceiling = \"master\"\n",
        );
        let names = Addresses::from([("cms.example".to_owned(), ["2001:db8::1".parse().expect("an address")].into())]);
        let table = table(&policy, &names, &BTreeSet::new());
        assert_eq!(found(&table, "203.0.113.9", 80), 1);
        assert_eq!(found(&table, "203.0.113.0", 80), 1);
        assert_eq!(found(&table, "203.0.113.0", 22), 2);
        assert_eq!(found(&table, "2001:db8::1", 443), 2);
        assert_eq!(found(&table, "2001:db8::1", 80), 0);
        assert_eq!(found(&table, "198.51.100.1", 443), 0);
    }

    #[test]
    fn name_servers_are_read_and_marked() {
        let resolvers = resolvers("# comment\nnameserver 192.0.2.53\nsearch example.org\nnameserver fe80::1%eth0\n");
        assert_eq!(resolvers, ["192.0.2.53".parse().expect("an address")].into());
        let table = table(&policy(""), &Addresses::new(), &resolvers);
        assert_eq!(table.len(), 1);
        assert_eq!((table[0].1.is_resolver, table[0].1.ceiling), (1, 0));
    }
}
