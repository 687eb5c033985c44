// Says so if the page's modules cannot be loaded. This is no module itself: from a file, a browser loads scripts and no modules.

addEventListener(
  "error",
  ({ target }) => {
    if (target.type === "module") document.getElementById("broken").hidden = false;
  },
  true,
);
