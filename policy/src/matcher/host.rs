//! Hosts and networks as a policy names them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A host, a domain or a network, at one port or at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// Which hosts.
    pub hosts: Hosts,
    /// Which port; none: all.
    pub port: Option<u16>,
}

/// Which hosts a [`HostPattern`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// One name, in lower case without a last dot.
    Name(String),
    /// Every name below this one (`*.example.org`), not the name itself.
    Below(String),
    /// One address or a network. IPv4 addresses mapped into IPv6 count as IPv4.
    Network(IpNet),
}

/// How narrow a match is: exact name or address, then longer prefixes, then names below a domain; with a
/// port before without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Narrowness {
    exact: bool,
    network: bool,
    length: usize,
    port: bool,
}

impl HostPattern {
    /// Reads `name`, `*.name`, an address or a network, with `:port` where wanted.
    ///
    /// # Errors
    /// What is wrong with it, as one clause.
    pub(crate) fn parse(text: &str) -> Result<HostPattern, String> {
        if text.contains("://") {
            return Err("is an address of a page; write its host, and its port where wanted".to_owned());
        }
        let (host, port) = split_port(text)?;
        Ok(HostPattern { hosts: Hosts::parse(host)?, port })
    }

    pub(crate) fn narrowness(&self, name: Option<&str>, address: Option<IpAddr>, port: u16) -> Option<Narrowness> {
        if self.port.is_some_and(|wanted| wanted != port) {
            return None;
        }
        let (exact, network, length) = match &self.hosts {
            Hosts::Name(wanted) => (host_name(name?) == *wanted).then_some((true, false, 0))?,
            Hosts::Below(domain) => {
                let name = host_name(name?);
                let below = name.strip_suffix(domain.as_str())?;
                (below.len() > 1 && below.ends_with('.')).then_some((false, false, domain.split('.').count()))?
            }
            Hosts::Network(network) => {
                network.contains(&address?.to_canonical()).then_some(())?;
                let whole = network.prefix_len() == network.max_prefix_len();
                // Lengths of both families on one scale: IPv4 lies in ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
                let length = match network {
                    IpNet::V4(network) => usize::from(network.prefix_len()) + 96,
                    IpNet::V6(network) => usize::from(network.prefix_len()),
                };
                if whole { (true, false, 0) } else { (false, true, length) }
            }
        };
        Some(Narrowness { exact, network, length, port: self.port.is_some() })
    }
}

impl Hosts {
    fn parse(host: &str) -> Result<Hosts, String> {
        if let Some((address, length)) = host.split_once('/') {
            let address = address_of(address).ok_or("is no network: its address is not one")?;
            let length = length.parse::<u8>().map_err(|_| "is no network: its prefix length is not a number")?;
            let network = IpNet::new(address, length).map_err(|_| "is no network: its prefix length is too long")?;
            if network.network() != network.addr() {
                return Err(format!("has bits set behind its prefix; the network is {}", network.trunc()));
            }
            return Ok(Hosts::Network(canonical(network)));
        }
        if let Some(address) = address_of(host) {
            return Ok(Hosts::Network(IpNet::from(address.to_canonical())));
        }
        if let Some(domain) = host.strip_prefix("*.") {
            return Ok(Hosts::Below(valid_name(domain)?));
        }
        Ok(Hosts::Name(valid_name(host)?))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = matches!(self.hosts, Hosts::Network(IpNet::V6(_))) && self.port.is_some();
        let host = match &self.hosts {
            Hosts::Name(name) => name.clone(),
            Hosts::Below(domain) => format!("*.{domain}"),
            Hosts::Network(network) if network.prefix_len() == network.max_prefix_len() => network.addr().to_string(),
            Hosts::Network(network) => network.to_string(),
        };
        match self.port {
            Some(port) if v6 => write!(out, "[{host}]:{port}"),
            Some(port) => write!(out, "{host}:{port}"),
            None => write!(out, "{host}"),
        }
    }
}

/// Splits `host:port`, `[v6]:port` and their kin into the host and, where there is one, the port.
///
/// # Errors
/// What is wrong, as one clause.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("has `[` without `]`")?;
        let address = host.split('/').next().unwrap_or(host);
        if address.parse::<Ipv6Addr>().is_err() {
            return Err("has no IPv6 address in its brackets".to_owned());
        }
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((host, Some(port(digits)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("has something other than `:port` behind `]`".to_owned()),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => {
            let address = text.split('/').next().unwrap_or(text);
            match address.parse::<Ipv6Addr>() {
                Ok(_) => Ok((text, None)),
                Err(_) => Err("is no IPv6 address; with a port it is written `[address]:port`".to_owned()),
            }
        }
        Some((host, digits)) => Ok((host, Some(port(digits)?))),
    }
}

fn port(digits: &str) -> Result<u16, String> {
    match digits.parse::<u16>() {
        Ok(port @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err("has a port that is not a number from 1 to 65535".to_owned()),
    }
}

fn address_of(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().map(IpAddr::V4).or_else(|_| text.parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
}

/// A network of mapped addresses as the IPv4 network that it is.
fn canonical(network: IpNet) -> IpNet {
    match (network, network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpNet::V6(_), address @ IpAddr::V4(_), Some(length)) => IpNet::new(address, length).unwrap_or(network),
        _ => network,
    }
}

/// A host name as it is compared: lower case, no last dot.
pub(crate) fn host_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A name of RFC 1123 (underscores let pass), in the form in which it is compared. A last label of digits
/// only is an address gone wrong.
pub(crate) fn valid_name(name: &str) -> Result<String, String> {
    let name = host_name(name);
    if name.len() > 253 {
        return Err("is longer than the 253 bytes of a host name".to_owned());
    }
    for label in name.split('.') {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if label.is_empty() || label.len() > 63 || !letters || label.starts_with('-') || label.ends_with('-') {
            return Err("is no host name".to_owned());
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is no address".to_owned());
    }
    Ok(name)
}
