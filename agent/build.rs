//! Compiles the kernel's side of the flow guard and makes the Rust side of what both tell each other.

use std::env;
use std::path::PathBuf;

use anyhow::Context;
use libbpf_cargo::SkeletonBuilder;

fn main() -> anyhow::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set: run this by cargo")?);
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var_os("CLANG").map_or_else(|| PathBuf::from("clang-19"), PathBuf::from);
    SkeletonBuilder::new()
        .source("bpf/flow.bpf.c")
        .obj(out.join("flow.bpf.o"))
        .clang(clang)
        .clang_args(["-Wall", "-Werror", "-D__TARGET_ARCH_x86"])
        .build_and_generate(out.join("flow.skel.rs"))
        .context(
            "the BPF programs cannot be compiled; clang 19 is needed (apt-get install clang-19), or another by CLANG=…",
        )?;
    bindgen::Builder::default()
        .header("bpf/record.h")
        .clang_arg("-fno-builtin")
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .use_core()
        .derive_default(true)
        .prepend_enum_name(false)
        .formatter(bindgen::Formatter::None)
        .layout_tests(false)
        .merge_extern_blocks(true)
        .generate()
        .context("bpf/record.h cannot be read; libclang is needed (apt-get install libclang-19-dev)")?
        .write_to_file(out.join("record.rs"))
        .context("the Rust side of bpf/record.h cannot be written")?;
    Ok(())
}
