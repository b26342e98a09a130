// Starts one command of Oncelog with nothing but Temporal's TypeScript SDK, and prints its result.
//
//   npm run build && npm start -- shop/Product/p1 '{"name": "Lamp"}'
import { createHash, randomUUID } from "node:crypto";
import { Client, Connection, WorkflowExecutionAlreadyStartedError } from "@temporalio/client";

/** The only argument of the workflow: docs/contract.md lists its fields. */
interface Command {
  command_id: string;
  command_type: "CREATE_INSTANCE" | "UPDATE_INSTANCE" | "DELETE_INSTANCE";
  db_name: string;
  class_id: string;
  instance_id: string;
  payload: Record<string, unknown>;
}

/** The fields of a result that most callers need. */
interface Result {
  command_id: string;
  outcome: "APPLIED" | "REJECTED";
  aggregate_id: string;
  sequence_number: number | null;
  consistency_token: string | null;
  rejection: { code: string; message: string } | null;
}

/** Starts the command's workflow, or attaches to it if this command ID was sent before. */
async function submit(client: Client, command: Command): Promise<Result> {
  try {
    const handle = await client.workflow.start("InstanceCommand", {
      args: [command],
      workflowId: command.command_id, // the workflow ID is the command ID
      taskQueue: process.env.TASK_QUEUE ?? "oncelog",
      workflowIdReusePolicy: "REJECT_DUPLICATE",
      workflowIdConflictPolicy: "USE_EXISTING",
      priority: { fairnessKey: fairnessKey(command) },
    });
    return (await handle.result()) as Result;
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return (await client.workflow.getHandle(command.command_id).result()) as Result; // its first result is the answer
  }
}

/** Lets commands of other aggregates pass a thousand of this one: docs/stack.md, "Hot aggregates". */
function fairnessKey(command: Command): string {
  const encoded = encodeURIComponent(command.instance_id).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return createHash("sha256").update(`${command.db_name}/${command.class_id}/${encoded}`).digest("hex");
}

async function main(target: string | undefined, payload: string | undefined): Promise<void> {
  const [dbName, classId, ...rest] = (target ?? "").split("/");
  if (!dbName || !classId || rest.length === 0 || payload === undefined) {
    throw new Error("usage: client DB/CLASS/INSTANCE PAYLOAD");
  }
  const connection = await Connection.connect({ address: process.env.TEMPORAL_ADDRESS ?? "127.0.0.1:7233" });
  try {
    const client = new Client({ connection, namespace: process.env.TEMPORAL_NAMESPACE ?? "default" });
    const command: Command = {
      command_id: process.env.COMMAND_ID ?? randomUUID(),
      command_type: "CREATE_INSTANCE",
      db_name: dbName,
      class_id: classId,
      instance_id: rest.join("/"),
      payload: JSON.parse(payload) as Record<string, unknown>,
    };
    console.log(JSON.stringify(await submit(client, command)));
  } finally {
    await connection.close();
  }
}

await main(process.argv[2], process.argv[3]);
