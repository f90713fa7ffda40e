//! How many connections each address holds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many there are, by address.
#[derive(Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address; it counts until it is dropped.
pub(super) struct Place {
    address: IpAddr,
    addresses: Addresses,
}

impl Addresses {
    /// A place for one more connection; none if the address holds `most` already.
    pub(super) fn take(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.entry(address).or_default();
        if *own >= most {
            return None;
        }
        *own += 1;
        Some(Place { address, addresses: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_places_back() {
        let addresses = Addresses::default();
        let [one, other] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let places: Vec<Place> = std::iter::from_fn(|| addresses.take(one, 3)).collect();
        assert_eq!(places.len(), 3);
        assert!(addresses.take(other, 3).is_some());
        drop(places);
        assert!(addresses.take(one, 1).is_some());
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
