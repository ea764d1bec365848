//! Writes the seed corpora: `cargo run -p konko-fuzz --example seeds`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for (target, _) in konko_fuzz::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&dir)?;
        for (name, bytes) in konko_fuzz::seeds::seeds(target) {
            std::fs::write(dir.join(name), bytes)?;
        }
    }
    Ok(())
}
