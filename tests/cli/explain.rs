//! `xent explain`.

use crate::support::Folder;

#[test]
fn the_steps_of_a_row() {
    let folder = Folder::new();
    let run = folder.run("explain 2 1 0.5 -1 --names cat,dog,bird,fish --target cat");
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let expected = "\
class  logit  logit - max      e^       p   -ln p  gradient
cat      2.0       0.0000  1.0000  0.6095  0.4952   -0.3905 <- target
dog      1.0      -1.0000  0.3679  0.2242  1.4952    0.2242
bird     0.5      -1.5000  0.2231  0.1360  1.9952    0.1360
fish    -1.0      -3.0000  0.0498  0.0303  3.4952    0.0303
sum                        1.6408  1.0000            0.0000
loss      -ln p(cat) = 0.4952 nats
gradient  p - y, where y is 1 for the target and 0 for the others
overflow  none, with or without subtracting the maximum (in f32, e^ overflows above 88.7)
";
    assert_eq!(run.stdout, expected);
    assert_eq!(folder.run("explain 2 1 0.5 -1 --names cat,dog,bird,fish --target 0").stdout, expected);

    // Classes without names, and no target.
    let run = folder.run("explain 1000 -inf");
    let expected = "\
class   logit  logit - max      e^       p   -ln p
0      1000.0       0.0000  1.0000  1.0000  0.0000
1        -inf         -inf  0.0000  0.0000     inf
sum                         1.0000  1.0000
overflow  without subtracting the maximum, e^ is infinite in f32 for 0 (above 88.7), and p is NaN
";
    assert_eq!((run.status, run.stdout.as_str()), (Some(0), expected), "{run:?}");
}

#[test]
fn what_is_no_row_is_refused() {
    let folder = Folder::new();
    for (args, says) in [
        ("explain", "<LOGIT>..."),
        ("explain 1 two", "invalid value 'two' for '<LOGIT>...'"),
        ("explain 1 2 --target 2", "xent: --target: 2 is no class: they are 0, 1"),
        ("explain 1 2 --names a,b --target c", "xent: --target: c is no class: they are a, b"),
        ("explain 1 2 --names a,b,c", "xent: --names: 3 names for 2 logits"),
        ("explain 1 2 --temperature 0", "xent: --temperature 0: must be from"),
    ] {
        let run = folder.run(args);
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
        assert!(run.stderr.contains(says), "{args}: {}", run.stderr);
    }
    let beyond = folder.run("explain 1e39 2");
    assert!(beyond.status == Some(2) && beyond.stderr.contains("it is beyond f32"), "{beyond:?}");
    let small = folder.run("explain -1e-3 -inf --target 0");
    assert!(small.status == Some(0) && small.stdout.contains("\n0      -0.001  "), "{small:?}");
    // A row of NaN is no error: it shows what becomes of it.
    let run = folder.run("explain nan 1 --target 1");
    assert!(run.status == Some(0) && run.stdout.contains("-ln p(1) = NaN nats"), "{run:?}");
}
