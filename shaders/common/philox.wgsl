// Uses: wide

// Philox 4×32-10 (Salmon et al. 2011): four random words for a counter and a key.

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let a = word_product(0xd2511f53u, c.x);
        let b = word_product(0xcd9e8d57u, c.z);
        c = vec4(b.y ^ c.y ^ k.x, b.x, a.y ^ c.w ^ k.y, a.x);
        k += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}
