import { storageBackendContract } from "../contract/storage-backend.contract.js";
import { Workshop } from "./workshop.js";

storageBackendContract("qcow2", () => new Workshop("qcow2"));
