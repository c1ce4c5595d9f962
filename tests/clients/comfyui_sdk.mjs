// A program of a user of @saintno/comfyui-sdk; it knows nothing of a gateway. Prints what it was told as JSON.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [host, installed, picture, sockets] = process.argv.slice(2);
const { ComfyApi, CallWrapper, PromptBuilder } = createRequire(installed + "/")("@saintno/comfyui-sdk");

const node = (class_type, inputs) => ({ class_type, inputs });
const probe = (image, seed, fail_at) => node("ProgressProbe", { image, steps: 5, seconds: 0.3, seed, fail_at });

function batch(seed, fail_at = -1) {
  const graph = {
    1: node("EmptyImage", { width: 64, height: 64, batch_size: 1, color: 0 }),
    2: probe(["1", 0], 0, fail_at),
    3: node("SaveImage", { images: ["2", 0], filename_prefix: "sdk" }),
  };
  return new PromptBuilder(graph, ["seed"], ["images"])
    .setInputNode("seed", "2.inputs.seed")
    .setOutputNode("images", "3")
    .input("seed", seed);
}

function negative(name) {
  const graph = {
    1: node("LoadImage", { image: name }),
    2: node("ImageInvert", { image: ["1", 0] }),
    3: node("PreviewImage", { images: ["2", 0] }),
  };
  return new PromptBuilder(graph, [], ["images"]).setOutputNode("images", "3");
}

async function run(api, workflow) {
  const told = { progress: 0, previews: 0 };
  const result = await new CallWrapper(api, workflow)
    .onPending((id) => (told.pending = id))
    .onStart((id) => (told.start = id))
    .onProgress(() => (told.progress += 1))
    .onPreview(() => (told.previews += 1))
    .onFinished((_, id) => (told.finished = id))
    .onFailed((error) => (told.failed = error.message + ": " + (error.cause?.exception_message ?? error.cause?.error ?? "")))
    .run();
  const files = result ? result.images.images : [];
  const pictures = await Promise.all(files.map(async (file) => Buffer.from(await (await api.getImage(file)).arrayBuffer())));
  return { ...told, files, pictures: pictures.map((bytes) => bytes.toString("base64")) };
}

const connect = () => new ComfyApi(host).init().waitForReady();
const api = await connect();
const another = sockets === "one" ? () => api : connect;
const uploaded = await api.uploadImage(readFileSync(picture), "from the sdk.png");
const report = {
  checkpoints: await api.getCheckpoints(),
  uploaded: uploaded.info,
  negative: await run(api, negative(uploaded.info.filename)),
  one: await run(api, batch(50)),
  batch: await Promise.all([60, 61, 62, 63, 64, 65].map(async (seed) => run(await another(), batch(seed)))),
  failed: await run(api, batch(70, 1)),
};
console.log(JSON.stringify(report));
process.exit(0); // its websocket stays open
