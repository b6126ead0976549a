// The module of one binary: what wasm-bindgen made of it, and when it ended. scripts/build-wasm.sh makes one file of it, so
// that a bundler can hand it out as it is.
export * from "wasm-bindgen-output";
export { default } from "wasm-bindgen-output";
export { onEnd } from "./guard.js";
