//! Certificates for a receiver and those who send to it.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Writes `ca.pem` with `server`, `client` and `stranger` of it (`.pem`, `.key`), and `other.pem` of another authority.
pub fn make_certificates(directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    for (authority, names) in [("ca", &["server", "client", "stranger"][..]), ("other", &[])] {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write(&format!("{authority}.pem"), issuer.pem());
        for name in names {
            let subject = match *name {
                "server" => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
                "client" => vec!["collector.example".to_owned()],
                _ => vec!["stranger.example".to_owned()],
            };
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(subject).unwrap().signed_by(&key, &issuer).unwrap();
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
    }
}
