//! Where an agent's program comes from, and which version of it is there.

use std::path::Path;

use serde::Deserialize;

/// Where a preset's program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The program's name on `PATH`.
    pub program: &'static str,
    /// What installs it.
    pub manager: Manager,
    /// The package's name at its registry.
    pub name: &'static str,
    /// The version that the preset was measured with.
    pub version: &'static str,
    /// What has to be installed beside it, as its manager takes it.
    pub with: &'static [&'static str],
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Node's.
    Npm,
    /// Python's.
    Pip,
}

impl Manager {
    /// Its name as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip => "pip",
        }
    }
}

impl Package {
    /// The command that installs the version that was measured.
    #[must_use]
    pub fn install_command(&self) -> String {
        let Self { name, version, .. } = self;
        match self.manager {
            Manager::Npm => format!("npm install --global {name}@{version}"),
            Manager::Pip => {
                let with: String = self.with.iter().map(|other| format!(" {other}")).collect();
                format!("python3 -m pip install {name}=={version}{with}")
            }
        }
    }

    /// The version of an installed program, read from what its manager has left beside it. Nothing is
    /// started for it: a Python program may take seconds to say its version. `None` where it was
    /// installed in some other way.
    #[must_use]
    pub fn installed(&self, program: &Path) -> Option<String> {
        let file = program.canonicalize().ok()?;
        let version = match self.manager {
            Manager::Npm => file.ancestors().skip(1).find_map(|folder| self.version_in(folder)),
            Manager::Pip => self.version_beside(file.parent()?.parent()?),
        }?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+-_".contains(c);
        (version.len() <= 40 && version.chars().all(plain)).then_some(version)
    }

    /// The version in a folder's `package.json`, where that is this package's, or one of those for single
    /// platforms which it consists of.
    fn version_in(&self, folder: &Path) -> Option<String> {
        #[derive(Deserialize)]
        struct Manifest {
            name: String,
            version: String,
        }
        let text = std::fs::read(folder.join("package.json")).ok()?;
        let Manifest { name, version } = serde_json::from_slice(&text).ok()?;
        (name == self.name).then_some(version)
    }

    /// The version in the name of the folder that pip keeps its record in.
    fn version_beside(&self, environment: &Path) -> Option<String> {
        let stem = format!("{}-", self.name.replace('-', "_"));
        let pythons = std::fs::read_dir(environment.join("lib")).ok()?.flatten();
        let packages =
            pythons.filter_map(|python| std::fs::read_dir(python.path().join("site-packages")).ok());
        packages.flat_map(Iterator::flatten).find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix(&stem)?.strip_suffix(".dist-info")?.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{aider, codex};
    use super::*;

    #[test]
    fn the_version_is_read_and_nothing_is_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, text).expect("a file");
            path
        };
        write("node_modules/@openai/codex/package.json", r#"{"name":"@openai/codex","version":"0.170.1"}"#);
        let program = write("node_modules/@openai/codex/bin/codex.js", "");
        let link = folder.path().join("node_modules/.bin/codex");
        std::fs::create_dir(link.parent().expect("a folder")).expect("a folder");
        std::os::unix::fs::symlink(&program, &link).expect("a link");
        assert_eq!(codex::PACKAGE.installed(&link).as_deref(), Some("0.170.1"));
        write("node_modules/@openai/codex/package.json", r#"{"name":"@openai/codex","version":"1\n::x"}"#);
        assert_eq!(codex::PACKAGE.installed(&link), None, "what is no version is not repeated");
        assert_eq!(codex::PACKAGE.installed(Path::new("/nowhere")), None);

        let program = write("python/bin/aider", "");
        assert_eq!(aider::PACKAGE.installed(&program), None);
        write("python/lib/python3.12/site-packages/aider_chat-0.86.2.dist-info/METADATA", "");
        assert_eq!(aider::PACKAGE.installed(&program).as_deref(), Some("0.86.2"));
    }
}
