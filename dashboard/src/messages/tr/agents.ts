import type { Translation } from "../../i18n/types";
import type { agents as english } from "../en/agents";

export const agents: Translation<typeof english> = {
  "agents.title": "Ajanlar",
  "agents.idle": "Boşta",
  "agents.working": "Çalışıyor",
  "agents.offline": "Çevrimdışı",
  "agents.nothing": "Bu projenin çalışan görevi yok.",
  "agents.mean": "Ortalama süre",
  "agents.heartbeat": "Son sinyal",
  "agents.workers": "Servisler",
  "agents.workers_detail": "Her servis tüm projelerin görevlerini çalıştırır.",
  "agents.no_workers": "Görev çalıştıran servis yok",
  "agents.no_workers_detail": "Görevler kuyrukta bekliyor. `kairos start` ile, ya da bir API servisinin yanında `--role worker` ile bir servis başlatın.",
  "agents.alive": "Çalışıyor",
  "agents.silent": "Yanıt vermiyor",
};
