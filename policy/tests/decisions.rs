//! What the policy decides, case by case.

mod world;

use std::path::Path;

use vitrine_policy::decision::{Answer, Mode};
use vitrine_policy::facts::{Measure, Tier};
use vitrine_policy::{Policy, Trust};
use world::{exactly, on, to, world};

const MUSEUM: &str = include_str!("../examples/museum.toml");

#[test]
fn a_test_of_the_policy_that_fails_says_so() {
    let policy = world("[[test]]\ntransfer = { tier = \"public\", to = \"/x\" }\nexpect = \"allow\"\n").policy;
    let outcomes = policy.run_tests();
    assert_eq!((outcomes.len(), outcomes[0].line, outcomes[0].passed), (1, 3, false));
    assert!(outcomes[0].explanation.contains("the ceiling of `elsewhere` is `none`"), "{}", outcomes[0].explanation);
}

#[test]
fn nobody_but_the_named_programs_opens_a_vault() {
    let museum = exactly(MUSEUM);
    museum.opens("masters", Some("gimp")).is_let_in("masters");
    museum.opens("masters", Some("file manager")).is_kept_out_of("masters").saying("name the program in `opened-by`");
    museum.opens("masters", None).is_kept_out_of("masters").saying("`magick`, `gimp` and `backup`");
}

#[test]
fn a_collection_without_opened_by_is_open_to_anybody() {
    let reading_room = world("[[collection]]\nname = \"readers\"\npaths = [\"/srv/readers\"]\n");
    reading_room.opens("readers", None).is_open_to_anybody("readers").saying("Give `readers` an `opened-by`");
}

#[test]
fn a_destination_takes_its_ceiling_and_everything_below() {
    let museum = exactly(MUSEUM);
    museum.sends("public").to("203.0.113.9:443").passes("website");
    museum.sends("licensed").to("203.0.113.9:443").is_too_high_for("website").saying(
        "A copy of at most 6 megapixels, at most 0.6 of the master's length and at most 8 bits a channel may go there",
    );
    museum.sends("master").to("/mnt/archive/2024").passes("archive");
}

#[test]
fn a_refusal_says_what_would_pass() {
    let museum = exactly(MUSEUM);
    let refused = museum.sends("master").because("loan 14").to("usb:0951:1666:60A44C413FAE");
    refused
        .is_too_high_for("courier disk")
        .saying("`master` may not go to `courier disk` (the USB disk 0951:1666 with serial 60A44C413FAE)")
        .saying("A copy of at most 20 megapixels and at most 0.9 of the master's length may go there.")
        .saying("raise `ceiling` of [[destination]] `courier disk` to `master`");
    let unnamed = museum.sends("public").by("magick").into(on("/media/wu/x", "/media/wu/x/a\u{1b}.jpg"));
    unnamed
        .is_too_high_for("elsewhere")
        .saying("The program `magick` may not send `public` to /media/wu/x/a\\u{1b}.jpg")
        .saying("Nothing made from a master may go there.")
        .saying("add [[destination]] with mounts = [\"/media/wu/x\"] and the ceiling `public`");
}

#[test]
fn what_is_not_named_gets_what_elsewhere_gets() {
    exactly(MUSEUM).sends("public").to("/home/wu/Nextcloud").is_too_high_for("elsewhere").saying("add [[destination]]");
    world("[elsewhere]\nceiling = \"licensed\"\n").sends("licensed").to("192.0.2.1:22").passes("elsewhere");
    world("").sends("public").to("192.0.2.1:22").is_too_high_for("elsewhere");
}

#[test]
fn an_exempt_program_moves_anything_anywhere_and_a_copier_does_not() {
    let museum = exactly(MUSEUM);
    museum.sends("master").by("backup").to("192.0.2.1:22").is_exempt_as("backup");
    museum.sends("master").by("file manager").to("192.0.2.1:22").is_too_high_for("elsewhere");
    museum.sends("master").by("a program of another policy").to("192.0.2.1:22").is_too_high_for("elsewhere");
    assert_eq!(museum.policy.program("file manager").expect("named").trust, Trust::Copier);
}

#[test]
fn a_reason_holds_as_long_as_the_policy_says() {
    let policy = |justify: &str| exactly(&MUSEUM.replace("justify = true ", &format!("justify = {justify} ")));
    let window = |justify: &str| {
        let museum = policy(justify);
        let named = museum.policy.destinations.iter().find(|entry| entry.name == "courier disk");
        named.expect("the courier disk").justify.map(|asked| asked.window.as_secs())
    };
    assert_eq!(window("true"), Some(15 * 60));
    assert_eq!(window("{}"), Some(15 * 60));
    assert_eq!(window("{ minutes = 90 }"), Some(90 * 60));
    assert_eq!(window("{ minutes = 0.5 }"), Some(30));
    let disk = || on("/media/wu/disk", "/media/wu/disk/a.tif").of_usb("0951", "1666", "60A44C413FAE");
    let told = "Give a reason with `vitrine justify`, and try again within 90 minutes.";
    policy("{ minutes = 90 }").sends("licensed").into(disk()).lacks_a_reason_for("courier disk").saying(told);
}

#[test]
fn between_equals_the_one_that_wants_a_reason_wins_and_the_shorter_time() {
    let entry = |name: &str, justify: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\npaths = [\"/srv/out\"]\nceiling = \"master\"\njustify = {justify}\n"
        )
    };
    for (strict, loose) in [
        ("true", "false"),
        ("{ minutes = 1 }", "true"),
        ("{ minutes = 0.5 }", "{ minutes = 0.6 }"),
        ("{ minutes = 90, approval = true }", "{ minutes = 0.5 }"),
        ("{ approval = { hours = 1 } }", "{ approval = true }"),
    ] {
        for entries in
            [[entry("strict", strict), entry("loose", loose)], [entry("loose", loose), entry("strict", strict)]]
        {
            let text = format!("version = 1\nmode = \"enforce\"\n{}", entries.concat());
            exactly(&text).sends("master").to("/srv/out/a.tif").lacks_a_reason_for("strict");
        }
    }
}

#[test]
fn a_reason_that_wants_approval_counts_for_nothing_without() {
    let policy = |justify: &str| exactly(&MUSEUM.replace("justify = true ", &format!("justify = {justify} ")));
    let approval = |justify: &str| {
        let museum = policy(justify);
        let named = museum.policy.destinations.iter().find(|entry| entry.name == "courier disk");
        let asked = named.expect("the courier disk").justify.expect("a reason");
        asked.approval.map(|approval| approval.as_secs())
    };
    assert_eq!(approval("{ approval = true }"), Some(24 * 3600));
    assert_eq!(approval("{ approval = {} }"), Some(24 * 3600));
    assert_eq!(approval("{ minutes = 5, approval = { hours = 0.5 } }"), Some(1800));
    assert_eq!(approval("{ minutes = 5, approval = false }"), None);
    let disk = || on("/media/wu/disk", "/media/wu/disk/a.tif").of_usb("0951", "1666", "60A44C413FAE");
    let museum = policy("{ minutes = 5, approval = true }");
    let told = "only with a reason that a second person has approved";
    museum.sends("licensed").into(disk()).lacks_a_reason_for("courier disk").saying(told);
    museum.sends("licensed").because("loan 14").into(disk()).lacks_a_reason_for("courier disk").saying(told);
    let approved = museum.sends("licensed").because("loan 14").approved_by("ines");
    approved.into(disk()).is_justified_for("courier disk").saying("Approved by ines.");
    museum.sends("licensed").because(" ").approved_by("ines").into(disk()).lacks_a_reason_for("courier disk");
    museum.sends("master").because("x").approved_by("ines").into(disk()).is_too_high_for("courier disk");
}

#[test]
fn the_courier_disk_wants_a_reason_and_counts() {
    let museum = exactly(MUSEUM);
    let disk = || on("/media/wu/disk", "/media/wu/disk/a.tif").of_usb("0951", "1666", "60A44C413FAE");
    museum.sends("licensed").into(disk()).lacks_a_reason_for("courier disk");
    museum.sends("licensed").because(" ").into(disk()).lacks_a_reason_for("courier disk");
    museum.sends("licensed").because("loan 14").into(disk()).is_justified_for("courier disk").saying("loan 14");
    museum.sends("licensed").because("x").as_object_of_today(20).into(disk()).is_justified_for("courier disk");
    museum
        .sends("licensed")
        .because("x")
        .as_object_of_today(21)
        .into(disk())
        .is_too_many_for("courier disk")
        .saying("object number 21 of this day; 20 is the most");
    museum
        .sends("licensed")
        .because("x")
        .covering(0.25)
        .as_object_of_today(1)
        .into(disk())
        .is_justified_for("courier disk")
        .saying("what has gone there is 25 % of the master's area (25 % is the most) and one object of this day (20 is the most).");
    for (coverage, words) in [
        (0.31, "it would bring what has gone there to 31 % of the master's area; 25 % is the most."),
        (0.25001, "to 25.1 % of"),
        (f64::NAN, "to an unknown share of"),
    ] {
        let sending = museum.sends("licensed").because("x").covering(coverage);
        sending.into(disk()).is_too_much_for("courier disk").saying(words);
    }
    museum.sends("master").because("x").into(disk()).is_too_high_for("courier disk");
}

#[test]
fn audit_says_what_enforce_would_do_and_does_nothing() {
    let enforced = exactly(MUSEUM).sends("master").to("192.0.2.1:22");
    assert_eq!(enforced.decision.answer(), Answer::Deny);
    let audited = exactly(&MUSEUM.replace("mode = \"enforce\"", "mode = \"audit\"")).sends("master").to("192.0.2.1:22");
    assert_eq!(audited.decision.answer(), Answer::Allow);
    audited.is_too_high_for("elsewhere").saying("audit mode");
}

const TREE: &str = r#"
    [[destination]]
    name = "approved"
    paths = ["/srv/out"]
    ceiling = "master"
    [[destination]]
    name = "web"
    paths = ["/srv/out/web"]
    ceiling = "public"
    [[destination]]
    name = "disk shelf"
    mounts = ["/mnt/shelf"]
    ceiling = "licensed"
    [[destination]]
    name = "archive share"
    shares = ["//NAS1/scans/", "nas2:/archive"]
    ceiling = "master"
    [[destination]]
    name = "kind of disk"
    usb = [{ vendor = "0951", product = "1666" }]
    ceiling = "public"
    [[destination]]
    name = "one disk"
    usb = [{ vendor = "0951", product = "1666", serial = "S1" }]
    ceiling = "master"
"#;

#[test]
fn the_deeper_directory_wins() {
    let tree = world(TREE);
    assert_eq!(tree.ceiling_at(to("/srv/out/a.tif")), "master");
    assert_eq!(tree.ceiling_at(to("/srv/out/web/a.tif")), "public");
    assert_eq!(tree.ceiling_at(to("/srv/out/webinar/a.tif")), "master");
    assert_eq!(tree.ceiling_at(to("/srv/outside/a.tif")), "none");
}

#[test]
fn dots_in_a_path_lead_nowhere_else() {
    let tree = world(TREE);
    assert_eq!(tree.ceiling_at(to("/srv/out/../../home/x")), "none");
    assert_eq!(tree.ceiling_at(to("/srv/./out//web/../a.tif")), "master");
    assert_eq!(tree.ceiling_at(to("/../srv/out/a.tif")), "master");
}

#[test]
fn a_stick_below_an_approved_directory_is_not_approved() {
    let tree = world(TREE);
    assert_eq!(tree.ceiling_at(on("/srv", "/srv/out/stick/a.tif")), "master");
    assert_eq!(tree.ceiling_at(on("/srv/out", "/srv/out/stick/a.tif")), "master");
    assert_eq!(tree.ceiling_at(on("/srv/out/stick", "/srv/out/stick/a.tif")), "none");
}

#[test]
fn a_named_mount_is_that_mount_and_no_other() {
    let tree = world(TREE);
    assert_eq!(tree.ceiling_at(on("/mnt/shelf", "/mnt/shelf/a.tif")), "licensed");
    assert_eq!(tree.ceiling_at(on("/", "/mnt/shelf/a.tif")), "none", "the disk is not mounted");
    assert_eq!(tree.ceiling_at(on("/mnt/shelf/x", "/mnt/shelf/x/a.tif")), "none", "another disk lies below");
    assert_eq!(tree.ceiling_at(to("/mnt/shelf/a.tif")), "licensed", "nobody knows the mount");
}

#[test]
fn a_share_is_known_by_its_source() {
    let tree = world(TREE);
    let mounted = |source: &str| on("/mnt/x", "/mnt/x/a.tif").of_share(source);
    assert_eq!(tree.ceiling_at(mounted("//nas1/scans")), "master");
    assert_eq!(tree.ceiling_at(mounted("//Nas1/scans/2024/")), "master");
    assert_eq!(tree.ceiling_at(mounted("//nas1/scans-public")), "none");
    assert_eq!(tree.ceiling_at(mounted("//nas1/scans/../private")), "none");
    assert_eq!(tree.ceiling_at(mounted("nas2:/archive/b")), "master");
    assert_eq!(tree.ceiling_at(mounted("nas1:/scans")), "none", "an export is not a share");
}

#[test]
fn a_disk_with_its_serial_comes_before_its_kind() {
    let tree = world(TREE);
    let disk = |serial: &str| on("/media/d", "/media/d/a.tif").of_usb("0951", "1666", serial);
    assert_eq!(tree.ceiling_at(disk("S1")), "master");
    assert_eq!(tree.ceiling_at(disk("S2")), "public");
    assert_eq!(tree.ceiling_at(disk("")), "public");
    assert_eq!(tree.ceiling_at(on("/mnt/shelf", "/mnt/shelf/a").of_usb("0951", "1666", "S2")), "public");
    assert_eq!(tree.ceiling_at(on("/mnt/shelf", "/mnt/shelf/a").of_share("//nas1/scans")), "master");
}

#[test]
fn of_equals_the_lower_ceiling_wins_wherever_it_stands() {
    let entry = |name: &str, ceiling: &str| {
        format!("[[destination]]\nname = \"{name}\"\npaths = [\"/srv/out\"]\nceiling = \"{ceiling}\"\n")
    };
    for text in [entry("a", "master") + &entry("b", "public"), entry("b", "public") + &entry("a", "master")] {
        assert_eq!(world(&text).ceiling_at(to("/srv/out/x")), "public");
    }
}

#[test]
fn hosts_go_from_exact_to_wide_and_a_port_counts() {
    let net = world(
        r#"
        [[destination]]
        name = "everything"
        hosts = ["0.0.0.0/0", "::/0"]
        ceiling = "public"
        [[destination]]
        name = "network"
        hosts = ["10.1.0.0/16", "2001:db8::/32"]
        ceiling = "licensed"
        [[destination]]
        name = "host"
        hosts = ["10.1.2.3", "[2001:db8::1]:443", "nas.example.org"]
        ceiling = "master"
        [[destination]]
        name = "port"
        hosts = ["10.1.2.3:22", "*.example.org"]
        ceiling = "none"
    "#,
    );
    for (place, ceiling) in [
        ("192.0.2.1:443", "public"),
        ("10.1.9.9:443", "licensed"),
        ("10.1.2.3:443", "master"),
        ("10.1.2.3:22", "none"),
        ("[::ffff:10.1.2.3]:443", "master"),
        ("[2001:db8::1]:443", "master"),
        ("[2001:db8::1]:80", "licensed"),
        ("[2001:db9::1]:80", "public"),
        ("NAS.Example.org.:80", "master"),
        ("evil.example.org:80", "none"),
        ("example.org:80", "none"),
        ("notexample.org:80", "none"),
    ] {
        assert_eq!(net.ceiling_at(to(place)), ceiling, "{place}");
    }
    let named = net.policy.destination_of(&to("evil.example.org:80").0).expect("below the domain");
    assert_eq!(named.name, "port");
    for other in ["example.org:80", "notexample.org:80"] {
        assert!(net.policy.destination_of(&to(other).0).is_none(), "{other} is not below the domain");
    }
}

#[test]
fn a_file_belongs_to_a_collection_by_directory_and_name() {
    let policy = exactly(MUSEUM).policy;
    let collection = |path: &str| policy.collection_of(Path::new(path)).map(|collection| collection.name.as_str());
    assert_eq!(collection("/srv/scans/masters/K2A_1.tif"), Some("masters"));
    assert_eq!(collection("/srv/scans/masters/a/b/K2A_1.TIF"), Some("masters"));
    assert_eq!(collection("/home/wu/resize/in/x.jp2"), Some("masters"));
    assert_eq!(collection("/home/wu/deep/resize/in/x.jp2"), None, "a wildcard is one directory");
    assert_eq!(collection("/srv/scans/masters/readme.txt"), None);
    assert_eq!(collection("/srv/scans/masters/../x.tif"), None);
    assert_eq!(collection("/srv/scans/masters.tif"), None);
    assert_eq!(collection("srv/scans/masters/x.tif"), None);
}

#[test]
fn a_collection_tells_its_directories_and_objects() {
    let policy = exactly(MUSEUM).policy;
    let masters = policy.collection("masters").expect("named");
    let roots: Vec<_> = masters.roots().iter().map(|root| (root.pattern(), root.fixed())).collect();
    assert_eq!(
        roots,
        [("/srv/scans/masters", Path::new("/srv/scans/masters")), ("/home/*/resize/in", Path::new("/home"))]
    );
    assert!(masters.covers_dir(Path::new("/home/wu/resize/in")));
    assert!(masters.covers_dir(Path::new("/home/wu/resize/in/today")));
    assert!(!masters.covers_dir(Path::new("/home/wu/resize")));
    assert_eq!(masters.object_of(Path::new("/x/K2A000123_01.tif")).as_deref(), Some("K2A000123"));
    assert_eq!(masters.object_of(Path::new("/x/k2a.tif")), None);
}

#[test]
fn an_object_may_be_named_in_any_case_and_any_script() {
    let text = "[[collection]]\nname = \"c\"\npaths = [\"/c\"]\nobject = '(?i)^(?<object>故?[a-z]+\\d+)'\n";
    let policy = world(text).policy;
    let object = |name: &str| policy.collection("c").and_then(|c| c.object_of(&Path::new("/c").join(name)));
    assert_eq!(object("故Ab12_x.tif").as_deref(), Some("故Ab12"));
    assert_eq!(object("12.tif"), None);
}

#[test]
fn of_nested_collections_the_deeper_counts() {
    let nested = world(
        "[[collection]]\nname = \"all\"\npaths = [\"/srv\"]\n[[collection]]\nname = \"open\"\npaths = [\"/srv/open\"]\n",
    );
    let collection = |path: &str| nested.policy.collection_of(Path::new(path)).expect("covered").name.clone();
    assert_eq!(collection("/srv/open/a"), "open");
    assert_eq!(collection("/srv/a"), "all");
}

#[test]
fn a_file_has_the_lowest_tier_whose_limits_it_meets() {
    let policy = world("").policy;
    let tier = |megapixels, scale, bit_depth| {
        policy.tier_name(policy.tier_of(&Measure { megapixels, scale, bit_depth })).to_owned()
    };
    assert_eq!(tier(6.0, Some(0.6), 8), "public");
    assert_eq!(tier(6.1, Some(0.6), 8), "licensed");
    assert_eq!(tier(6.0, Some(0.61), 8), "licensed");
    assert_eq!(tier(6.0, Some(0.6), 16), "licensed");
    assert_eq!(tier(20.0, Some(0.91), 8), "master");
    assert_eq!(tier(6.0, None, 8), "public", "an unknown scale does not count");
    assert_eq!(tier(f64::NAN, Some(0.1), 8), "master");
}

#[test]
fn what_is_larger_than_the_lowest_tier_adds_up() {
    let museum = exactly(MUSEUM).policy;
    let adds_up = |scale, tier: &str| museum.adds_up(scale, museum.tier_named(tier).expect("a tier"));
    assert!(!adds_up(Some(0.6), "master"), "deep colours, but no larger than the public sees it");
    assert!(adds_up(Some(0.61), "public") && adds_up(Some(f64::NAN), "public"));
    assert!(!adds_up(None, "public") && adds_up(None, "licensed"));
    let unscaled = exactly(&MUSEUM.replace("max-scale", "# max-scale")).policy;
    assert!(unscaled.adds_up(Some(0.01), Tier(0)) && Policy::fallback().adds_up(None, Tier(0)));
}

#[test]
fn a_tier_of_nothing_but_a_scale_is_not_met_where_the_scale_is_unknown() {
    let text = "version = 1\nmode = \"audit\"\n[[tier]]\nname = \"half\"\nmax-scale = 0.5\n";
    let policy = exactly(text).policy;
    let tier = |scale| policy.tier_of(&Measure { megapixels: 1.0, scale, bit_depth: 8 });
    assert_eq!(policy.tier_name(tier(Some(0.5))), "half");
    assert_eq!(policy.tier_name(tier(None)), "master");
}

#[test]
fn without_tiers_everything_is_a_master() {
    let plain = exactly(
        "version = 1\nmode = \"enforce\"\n[[destination]]\nname = \"archive\"\npaths = [\"/a\"]\nceiling = \"master\"\n",
    );
    plain.sends("master").to("/a/x").passes("archive");
    plain.sends("master").to("/b/x").is_too_high_for("elsewhere");
    assert_eq!(plain.policy.tier_name(plain.policy.master_tier()), "master");
}

#[test]
fn the_fallback_blocks_nothing_and_protects_nothing() {
    let policy = Policy::fallback();
    assert_eq!(policy.mode, Mode::Audit);
    assert!(policy.collection_of(Path::new("/srv/a.tif")).is_none());
    assert_eq!(policy.destination_paths().count(), 0);
}
