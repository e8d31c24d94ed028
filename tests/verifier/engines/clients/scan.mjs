// One call with grpc-js: node scan.mjs FOLDER_OF_NODE_MODULES PROTO_FOLDER ADDRESS BASE64_OF_QR_TEXT
import { createRequire } from "node:module";

const [modules, protos, address, qrText] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const definition = loader.loadSync("verifier/v1/verifier.proto", { includeDirs: [protos], enums: String });
const { VerifierService } = grpc.loadPackageDefinition(definition).verifier.v1;
const client = new VerifierService(address, grpc.credentials.createInsecure());
const scan = { qrText: Buffer.from(qrText, "base64"), scanId: "n1", gateId: "north" };
const deadline = () => ({ deadline: Date.now() + 5000 });

client.VerifyCode(scan, deadline(), (error, answer) => {
  if (error) throw error;
  const lane = client.StreamVerify(deadline());
  lane.on("data", (streamed) => {
    console.log(JSON.stringify([answer.verdict, streamed.verdict.verdict]));
    lane.end();
  });
  lane.on("end", () => {
    client.VerifyCode({ ...scan, scanId: "" }, deadline(), (refused) => {
      console.log(JSON.stringify([refused.code, refused.details]));
      client.close();
    });
  });
  lane.write({ scan });
});
