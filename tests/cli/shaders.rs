//! `xent shaders`: the list, and the files.

use crate::support::Folder;

#[test]
fn modules_are_listed_and_written() {
    let folder = Folder::new();
    let shaders = xent::shaders();
    let list = folder.run("shaders");
    assert_eq!((list.status, list.stderr.as_str()), (Some(0), ""));
    assert!(list.stdout.contains(
        "\nrow_losses: The loss alone: one read of the logits, one record per row.\n  row_losses-"
    ));
    for shader in &shaders {
        assert!(list.stdout.lines().any(|line| line.trim() == shader.name), "{}", shader.name);
    }
    assert!(list.stdout.ends_with(&format!("\n{} modules\n", shaders.len())), "{}", list.stdout);

    // Twice: the second run replaces the files of the first.
    for _ in 0..2 {
        let export = folder.run("shaders --export a/b");
        assert_eq!((export.status, export.stderr.as_str()), (Some(0), ""));
        assert_eq!(export.stdout, format!("{} modules written to a/b\n", shaders.len()));
    }
    assert_eq!(std::fs::read_dir(folder.path("a/b")).unwrap().count(), shaders.len());
    for shader in shaders {
        assert!(
            folder.read(&format!("a/b/{}.wgsl", shader.name)) == shader.source.as_bytes(),
            "{}",
            shader.name
        );
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = Folder::new();
    folder.write("taken", "");
    let run = folder.run("shaders --export taken/wgsl");
    assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.starts_with("xent: taken/wgsl: cannot be written: "), "{}", run.stderr);
    let run = folder.run("shaders --export");
    assert_eq!(run.status, Some(2));
}
