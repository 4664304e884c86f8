/** Bundles the workflow code into the file named by the argument, once for the workers of all test files. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

async function main(bundle: string): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('./workflows.ts'),
    logger: new DefaultLogger('WARN'),
  });
  mkdirSync(dirname(bundle), { recursive: true });
  writeFileSync(`${bundle}.new`, code);
  renameSync(`${bundle}.new`, bundle);
}

main(process.argv[2] ?? '').catch((error) => {
  console.error(error);
  process.exit(1);
});
