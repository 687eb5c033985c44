// The text is Markdown in docs/guide/, which is readable as it stands. There, a link leads to a file. Here, the same link
// leads to a module or an item: of two definitions of a link, Markdown takes the first, and `links.md` comes first.
#![doc = include_str!("links.md")]
#![doc = include_str!("../../docs/guide/README.md")]

macro_rules! chapters {
    ($($name:ident: $file:literal;)*) => {
        $(
            #[doc = include_str!("links.md")]
            #[doc = include_str!(concat!("../../docs/guide/", $file))]
            pub mod $name {}
        )*
    };
}

chapters! {
    scores: "01-scores.md";
    softmax: "02-softmax.md";
    exponentials: "03-exponentials.md";
    cross_entropy: "04-cross-entropy.md";
    gradient: "05-gradient.md";
    stability: "06-stability.md";
    temperature: "07-temperature.md";
    sigmoid: "08-sigmoid.md";
    pitfalls: "09-pitfalls.md";
    imbalance: "10-imbalance.md";
    smoothing: "11-smoothing.md";
    vocabularies: "12-vocabularies.md";
    attention: "13-attention.md";
    sampling: "14-sampling.md";
    names: "15-names.md";
}
