/** Bundles the workflow code once; the workers of all test files load it from `BUNDLE`. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { BUNDLE } from './kit';

async function main(): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('./workflows.ts'),
    logger: new DefaultLogger('WARN'),
  });
  mkdirSync(dirname(BUNDLE), { recursive: true });
  writeFileSync(BUNDLE, code);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
