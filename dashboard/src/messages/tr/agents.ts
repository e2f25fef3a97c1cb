import type { Translation } from "../../i18n/types";
import type { agents as english } from "../en/agents";

export const agents: Translation<typeof english> = {
  "agents.title": "Ajanlar",
  "agents.idle": "Boşta",
  "agents.working": "Çalışıyor",
  "agents.offline": "Çevrimdışı",
  "agents.nothing": "Şu anda bu projeden bir görevi yok.",
  "agents.mean": "Ortalama süre",
  "agents.heartbeat": "Son yaşam belirtisi",
  "agents.workers": "Arka plan süreçleri",
  "agents.workers_detail": "Her biri bütün projelerin görevlerini alır.",
  "agents.no_workers": "Görev alan bir süreç yok",
  "agents.no_workers_detail": "Görevler saklanır ve bekler. `kairos start` ile, ya da bir API'nin yanında `--role worker` ile bir tane başlatın.",
  "agents.alive": "Yaşıyor",
  "agents.silent": "Ses yok",
};
